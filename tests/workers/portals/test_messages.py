"""Messages are believed when their portal has signed them; nothing else takes a key of a portal or is done."""

import json
import time
from typing import Any

import pytest

from models.words import Code, Scope
from tests.kit.actors.messages import COMPANY, arguments, demo, portal_client, signed
from tests.kit.builders.portals import make_portal
from tests.kit.processes.support import change, forget, rows
from workers.actors import requests as door
from workers.engine.door import Bundle, SentMessage
from workers.engine.oversized import MessageSize
from workers.engine.streams import tell_portals
from workers.errors import InvalidRequest
from workers.portals.keys import QUEUE_KEYS
from workers.portals.messages import UnverifiedMessage, read_message, verify
from workers.requests.base import MAX_MESSAGE_BYTES

pytestmark = pytest.mark.usefixtures("running", "fresh_database")

DAY = 86_400


def refused(fields: dict[str, Any], arrived: float | None = None) -> tuple[type[InvalidRequest], Code, str]:
    with pytest.raises(InvalidRequest) as found:
        read_message(fields, arrived)
    return type(found.value), found.value.code, found.value.problems[0].field


def at(seconds: float) -> str:
    return str(int(time.time() + seconds))


def sent(fields: dict[str, Any] | None, data: bytes = b"data", **more: Any) -> SentMessage:
    return SentMessage(b"id", data, fields, **more)


def recorded(*sent_messages: SentMessage) -> Bundle:
    bundle = Bundle(sent_messages)
    door.record_bundle(bundle)
    assert bundle.recorded == len(sent_messages)
    return bundle


def jobs() -> list[tuple[Any, ...]]:
    return rows("""
        SELECT p.name, CASE WHEN i.key LIKE 'refused-message:%' THEN 'no key' ELSE i.key END, j.state,
          j.error ->> 'code'
        FROM job j JOIN idempotency i ON i.job_id = j.id JOIN portal p ON p.id = i.portal_id
        ORDER BY j.sequence_number""")


def test_a_signed_message_is_read_as_its_portal_sent_it() -> None:
    fields = arguments(key="one")
    request = read_message(fields)
    assert (request.portal_id, request.key, request.body) == (demo().portal_id, "one", fields["body"])


@pytest.mark.parametrize("field", ["portal", "kind", "version", "key", "key_id", "sent_at", "body"])
def test_a_field_that_was_changed_after_signing_is_believed_of_nobody(field: str) -> None:
    other = make_portal("other")
    instead = {"portal": "other", "kind": "put_training", "version": 2, "key": "x", "key_id": other.key_id}
    changed = arguments() | {field: instead.get(field, at(-10) if field == "sent_at" else "{}")}
    assert refused(changed)[:2] == (UnverifiedMessage, Code.UNAUTHORIZED)


def test_no_portal_can_speak_for_another() -> None:
    other = make_portal("other")
    forged = signed(arguments(portal="demo", key_id=other.key_id), other.secret)
    assert refused(forged) == (UnverifiedMessage, Code.UNAUTHORIZED, "portal")


def test_a_key_that_is_not_for_the_queue_signs_nothing() -> None:
    fields = arguments()
    change("UPDATE portal_key SET master_id = NULL")
    assert refused(fields) == (UnverifiedMessage, Code.UNAUTHORIZED, "key_id")


@pytest.mark.parametrize("ended", ["revoked_at = now()", "expires_at = now() - interval '1 second'"])
def test_a_key_that_ended_signs_nothing(ended: str) -> None:
    fields = arguments()
    read_message(fields)
    change(f"UPDATE portal_key SET {ended}")
    QUEUE_KEYS.forget()  # as after four seconds
    assert refused(fields) == (UnverifiedMessage, Code.UNAUTHORIZED, "key_id")


def test_a_master_secret_that_was_taken_away_ends_what_derives_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = arguments()
    monkeypatch.setenv("PORTAL_KEYS", "other:" + "1f" * 32)
    forget()
    assert refused(fields) == (UnverifiedMessage, Code.UNAUTHORIZED, "key_id")


@pytest.mark.parametrize(("age", "stale"), [(6.9 * DAY, False), (7.1 * DAY, True), (-290, False), (-310, True)])
def test_on_the_queue_a_message_is_stale_after_days(age: float, stale: bool) -> None:
    fields = arguments(sent_at=at(-age))
    if stale:
        assert refused(fields) == (UnverifiedMessage, Code.UNAUTHORIZED, "sent_at")
    else:
        read_message(fields)


def test_the_days_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = arguments(sent_at=at(-1.1 * DAY))
    monkeypatch.setenv("QUEUE_MESSAGE_DAYS", "1")
    forget()
    assert refused(fields) == (UnverifiedMessage, Code.UNAUTHORIZED, "sent_at")


@pytest.mark.parametrize(("age", "stale"), [(290, False), (310, True), (-290, False), (-310, True)])
def test_in_a_stream_a_message_is_judged_by_its_arrival(age: float, stale: bool) -> None:
    arrived = time.time() - 30 * DAY  # it waited for long
    fields = arguments(sent_at=str(int(arrived - age)))
    if stale:
        assert refused(fields, arrived) == (UnverifiedMessage, Code.UNAUTHORIZED, "sent_at")
    else:
        read_message(fields, arrived)


def test_a_signed_message_that_cannot_be_done_is_an_answer_to_its_portal() -> None:
    recorded(
        sent(arguments(key="kind", kind="drop_tables")),
        sent(arguments(key="internal", kind="purge", body="{}")),
        sent(arguments(key="version", version=2)),
        sent(arguments("{", key="body")),
    )
    assert jobs() == [
        ("demo", "kind", "refused", Code.UNKNOWN_KIND),
        ("demo", "internal", "refused", Code.UNKNOWN_KIND),
        ("demo", "version", "refused", Code.UNKNOWN_KIND),
        ("demo", "body", "refused", Code.INVALID_REQUEST),
    ]


def test_junk_that_names_a_portal_takes_none_of_its_keys() -> None:
    true = arguments(key="order-4711")
    unsigned = {name: true[name] for name in ("portal", "kind", "version", "key", "body")}
    forged = true | {"body": json.dumps(COMPANY | {"name": "Junk"})}
    stale = arguments(key="order-4711", sent_at=at(-8 * DAY))
    recorded(
        sent(unsigned),
        sent(forged),
        sent(stale),
        sent(None, b"noise"),
        sent(arguments(key="order-4711") | {"body": {}}),
        sent(true),
        sent(arguments(key="after")),
    )
    assert jobs() == [
        *[("local", "no key", "refused", Code.UNAUTHORIZED)] * 3,
        ("local", "no key", "refused", Code.UNREADABLE_MESSAGE),
        ("local", "no key", "refused", Code.INVALID_REQUEST),
        ("demo", "order-4711", "queued", None),
        ("demo", "after", "queued", None),
    ]


@pytest.mark.parametrize("kind", ["export_person", "erase_person", "put_company"])
def test_the_portal_of_the_shell_cannot_be_spoken_for(kind: str) -> None:
    local = make_portal("local")  # as if it had a key
    body = {"email": "a@example.com"} | ({"reason": "asked"} if kind == "erase_person" else {})
    fields = arguments(json.dumps(COMPANY if kind == "put_company" else body), kind=kind)
    unsigned = {name: fields[name] for name in ("kind", "version", "key", "body")} | {"portal": "local"}
    recorded(sent(unsigned), sent(signed(fields | {"portal": "local", "key_id": local.key_id}, local.secret)))
    assert jobs() == [("local", "no key", "refused", Code.UNAUTHORIZED)] * 2


def test_a_request_beyond_the_scopes_of_its_key_is_refused_under_its_key() -> None:
    narrow = make_portal("demo", scopes=[Scope.READ, Scope.ENROLL])
    company = signed(arguments(key="one", key_id=narrow.key_id), narrow.secret)
    recorded(sent(company), sent(arguments(key="two")))
    assert jobs() == [("demo", "one", "refused", Code.INSUFFICIENT_SCOPE), ("demo", "two", "queued", None)]


def test_a_request_about_a_company_the_key_may_not_name_is_refused() -> None:
    narrow = make_portal("demo", companies=["ours"])
    bodies = {"own": {"reference": "ours", "name": "A"}, "foreign": {"reference": "theirs", "name": "B"}}
    recorded(
        *(
            sent(signed(arguments(json.dumps(body), key=key, key_id=narrow.key_id), narrow.secret))
            for key, body in bodies.items()
        )
    )
    assert jobs() == [("demo", "own", "queued", None), ("demo", "foreign", "refused", Code.INSUFFICIENT_SCOPE)]


def test_a_reset_is_recorded_with_the_companies_of_its_key_each_time() -> None:
    narrow = make_portal("demo", companies=["theirs", "ours"])
    asked = signed(
        arguments(
            json.dumps({"email": "a@example.com"}), kind="request_password_reset", key="one", key_id=narrow.key_id
        ),
        narrow.secret,
    )
    assert [answer.outcome.outcome for answer in recorded(sent(asked), sent(asked)).answers] == ["accepted", "repeated"]
    assert rows("SELECT request ->> 'companies', request ->> 'email' FROM job") == [
        ('["ours","theirs"]', "a@example.com")
    ]


def test_a_refused_request_that_is_signed_again_is_the_same_one() -> None:
    for seconds in (-20, -10, 0):
        recorded(sent(arguments("{", key="one", sent_at=at(seconds))))
    assert jobs() == [("demo", "one", "refused", Code.INVALID_REQUEST)]
    recorded(sent(arguments("[", key="one")))
    assert jobs()[1:] == [("local", "no key", "refused", Code.INVALID_REQUEST)]


def answers() -> list[tuple[str, str, str]]:
    reader = portal_client()
    try:
        return [(one.key, one.outcome, one.code) for one in reader.read_answers()]
    finally:
        reader.close()


def test_a_portal_is_told_what_became_of_each_message() -> None:
    other = arguments(json.dumps(COMPANY), key="one")
    bundle = recorded(
        sent(arguments(key="one"), portal="demo"),
        sent(arguments(key="one"), portal="demo"),
        sent(other, portal="demo"),
        sent(arguments("{", key="two"), portal="demo"),
        sent(arguments(key="forged", signature="v1,AAAA"), portal="demo"),
        sent(None, b"noise", portal="demo"),
    )
    tell_portals(bundle.answers)
    assert answers() == [
        ("one", "accepted", ""),
        ("one", "repeated", ""),
        ("one", "conflict", Code.IDEMPOTENCY_CONFLICT),
        ("two", "refused", Code.INVALID_REQUEST),
        ("", "refused", Code.UNAUTHORIZED),  # anyone can name a key
        ("", "refused", Code.UNREADABLE_MESSAGE),
    ]


def test_on_the_queue_only_a_portal_that_signed_is_answered() -> None:
    bundle = recorded(sent(arguments(key="one")), sent(arguments(key="two", signature="v1,AAAA")))
    assert [(one.portal, one.key) for one in bundle.answers] == [("demo", "one")]


def test_an_entry_that_is_too_large_is_refused_under_no_key() -> None:
    recorded(sent(None, b"x" * MAX_MESSAGE_BYTES, size=MessageSize(MAX_MESSAGE_BYTES + 1, "ab"), portal="demo"))
    assert jobs() == [("local", "no key", "refused", Code.REQUEST_TOO_LARGE)]


def test_what_cannot_be_a_key_id_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(QUEUE_KEYS, "get", looked.append)
    for key_id in ("", "short", "toolong99", "a b c d ", "../../..", "é" * 8):
        with pytest.raises(UnverifiedMessage):
            verify(arguments(key_id=key_id))
    assert looked == []
