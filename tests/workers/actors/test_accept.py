"""The `requests` queue with a real worker: valid requests are done, broken messages are kept, and Redis is empty
afterwards.
"""

import json
from typing import Any

import pytest

from models.words import Code
from tests.kit.actors.messages import (
    left,
    message,
    push,
    send,
    unsigned,
    without,
)
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from workers.engine.door import Bundle, SentMessage
from workers.requests.base import MAX_MESSAGE_BYTES
from workers.requests.catalog import PutCompany, PutContract, PutTraining
from workers.requests.enrollment import Enroll, PersonToEnroll


def jobs() -> dict[object, object]:
    return {row[0]: row[1] for row in rows("SELECT state, count(*) FROM job GROUP BY state")}


def broken() -> dict[str, tuple[bytes | dict[str, Any], Code]]:
    """Returns messages that are refused, each with its code."""
    return {
        "not JSON": (b"\x80\x04\x95 pickle, or noise", Code.UNREADABLE_MESSAGE),
        "nothing at all": (b"", Code.UNREADABLE_MESSAGE),
        "JSON of another shape": (b"[1, 2, 3]", Code.UNREADABLE_MESSAGE),
        "JSON null": (b"null", Code.UNREADABLE_MESSAGE),
        "an object with other names": (b'{"hello": "world"}', Code.UNREADABLE_MESSAGE),
        "truncated JSON": (json.dumps(message()).encode()[:-20], Code.UNREADABLE_MESSAGE),
        "deeply nested JSON": (b"[" * 50_000, Code.UNREADABLE_MESSAGE),
        "an unhashable identifier": (message(message_id=["a"]), Code.UNREADABLE_MESSAGE),
        "a number for an actor": (message(actor_name=7), Code.UNREADABLE_MESSAGE),
        "an object for a queue": (message(queue_name={}), Code.UNREADABLE_MESSAGE),
        "arguments that are no object": (message(kwargs=["portal"]), Code.UNREADABLE_MESSAGE),
        "arguments that are nothing": (message(kwargs=None), Code.UNREADABLE_MESSAGE),
        "another queue": (message(queue_name="enrollments"), Code.UNREADABLE_MESSAGE),
        "a queue nobody knows": (message(queue_name="nowhere"), Code.UNREADABLE_MESSAGE),
        "an actor nobody knows": (message(actor_name="delete_everything"), Code.UNREADABLE_MESSAGE),
        "an actor of another queue": (message(actor_name="answer_enrollments", kwargs={}), Code.UNREADABLE_MESSAGE),
        "the actor only we may address": (
            message(actor_name="set_aside", kwargs={"queue": "requests", "data": "!"}),
            Code.UNREADABLE_MESSAGE,
        ),
        "positional arguments": (message(args=["local"]), Code.UNREADABLE_MESSAGE),
        "a time in the future": (message(options={"eta": 99_999_999_999_999}), Code.UNREADABLE_MESSAGE),
        "an argument no actor can take": (message(kwargs=message()["kwargs"] | {"self": 1}), Code.UNREADABLE_MESSAGE),
        "no portal": (without("portal"), Code.INVALID_REQUEST),
        "no kind": (without("kind"), Code.INVALID_REQUEST),
        "no key": (without("key"), Code.INVALID_REQUEST),
        "no body": (without("body"), Code.INVALID_REQUEST),
        "no version": (without("version"), Code.INVALID_REQUEST),
        "a truth value for a version": (message(version=True), Code.INVALID_REQUEST),
        "no arguments": (message(kwargs={}), Code.UNAUTHORIZED),
        "a number for a kind": (message(kind=1), Code.INVALID_REQUEST),
        "an object for a body": (message({"reference": "R-1", "name": "Lorval"}), Code.INVALID_REQUEST),
        "an empty key": (message(key=""), Code.INVALID_REQUEST),
        "a long key": (message(key="k" * 201), Code.INVALID_REQUEST),
        "a key of two lines": (message(key="a\nb"), Code.UNAUTHORIZED),
        "an unknown kind": (message(kind="drop_tables"), Code.UNKNOWN_KIND),
        "another version": (message(version=2), Code.UNKNOWN_KIND),
        "a kind of our own": (message("{}", kind="purge"), Code.UNKNOWN_KIND),
        "an unknown portal": (message(portal="elsewhere"), Code.UNAUTHORIZED),
        "no signature": (without("signature"), Code.INVALID_REQUEST),
        "nothing of a signature": (unsigned(), Code.UNAUTHORIZED),
        "the portal of the shell": (message(portal="local"), Code.UNAUTHORIZED),
        "the portal of the shell, unsigned": (unsigned(portal="local"), Code.UNAUTHORIZED),
        "an unknown key": (message(key_id="00000000"), Code.UNAUTHORIZED),
        "a key of another form": (message(key_id="../../etc"), Code.UNAUTHORIZED),
        "another signature": (message(signature="v1,AAAA"), Code.UNAUTHORIZED),
        "a signature of another form": (message(signature=["v1"]), Code.INVALID_REQUEST),
        "a moment that is no text": (message(sent_at=1_796_000_000), Code.INVALID_REQUEST),
        "a moment in words": (message(sent_at="now"), Code.INVALID_REQUEST),
        "a moment long past": (message(sent_at="1000000000"), Code.UNAUTHORIZED),
        "a moment to come": (message(sent_at="9999999999"), Code.UNAUTHORIZED),
        "a body that is not JSON": (message("{"), Code.INVALID_REQUEST),
        "a misspelt field": (message('{"reference": "R-1", "nom": "Lorval"}'), Code.INVALID_REQUEST),
        "half of a surrogate pair": (message('{"reference": "\ud800"}'), Code.INVALID_REQUEST),
        "half of a pair in the portal": (message(portal="\udfff"), Code.INVALID_REQUEST),
        "half of a pair in the body's JSON": (message('{"reference": "R-1", "name": "\\ud800"}'), Code.UNSAFE_VALUE),
        "NUL": (message(key="a\x00b"), Code.INVALID_REQUEST),
        "NUL in the body": (message('{"reference": "R-1", "name": "a\\u0000"}'), Code.UNSAFE_VALUE),
        "too long": (
            message(json.dumps({"reference": "R-1", "name": "n" * MAX_MESSAGE_BYTES})),
            Code.REQUEST_TOO_LARGE,
        ),
    }


def enroll(number: int, *, contract: str = "K-1") -> Enroll:
    person = PersonToEnroll(email=f"p{number}@example.com", first_name="Perle", last_name="Lorval")
    return Enroll(contract=contract, people=[person])


def prepare() -> None:
    """Puts a company, a training and a contract, each done before the next is sent."""
    for number, request in enumerate(
        (
            PutCompany(reference="R-0", name="Lorval"),
            PutTraining(reference="T-1", title="Hygiène"),
            PutContract(reference="K-1", company="R-0", training="T-1", planned_seats=100),
        )
    ):
        send(request, f"first-{number}")
        wait_until(lambda: rows("SELECT 1 FROM job WHERE state = 'succeeded' OFFSET :n", n=number))  # noqa: B023


def test_the_good_is_done_and_the_broken_is_kept(processes: Processes) -> None:
    worker = processes.worker("requests", "enrollments", "maintenance")
    prepare()
    sent: dict[bytes, Code] = {}
    faulty = list(broken().values())
    for number in range(40):
        request = enroll(number) if number % 2 else PutCompany(reference=f"R-{number}", name="Lorval")
        send(request, f"good-{number}")
        for data, code in faulty[number::40]:
            sent[push(data)[:MAX_MESSAGE_BYTES]] = code
        if number % 10 == 0:
            push(None)
    wait_until(
        lambda: jobs() == {"succeeded": 43, "refused": len(faulty)},
        say=lambda: f"{jobs()} {left()} {processes.logs()[-3000:]}",
    )
    refused = {bytes(raw): code for raw, code in rows("SELECT message, error->>'code' FROM job WHERE state='refused'")}  # type: ignore[call-overload]
    assert refused == sent
    wait_until(lambda: not left(), say=lambda: str(left()))
    assert worker.poll() is None
    assert "unexpected error" not in processes.logs()
    send(PutCompany(reference="R-last", name="Lorval"), "last")
    wait_until(lambda: jobs()["succeeded"] == 44)


def test_broken_messages_on_a_queue_of_wake_ups_are_kept_too(processes: Processes) -> None:
    processes.worker("requests", "enrollments")
    wake_up = {"queue_name": "enrollments", "actor_name": "answer_enrollments"}
    sent = {
        push(b"noise", queue="enrollments"),
        push(message(**wake_up), queue="enrollments"),
        push(message(**wake_up, kwargs={}, args=[1]), queue="enrollments"),
        push(message(), queue="enrollments"),
    }
    push(None, queue="enrollments")
    push(message(**wake_up, kwargs={}), queue="enrollments")
    wait_until(lambda: jobs() == {"refused": len(sent)}, say=lambda: str(jobs()))
    assert {bytes(raw) for (raw,) in rows("SELECT message FROM job")} == sent  # type: ignore[call-overload]
    wait_until(lambda: not left(), say=lambda: str(left()))


def test_the_same_bytes_are_kept_once_and_both_copies_leave_redis(processes: Processes) -> None:
    processes.worker("requests")
    for _ in range(3):
        push(b"noise")
    push(b"other noise")
    wait_until(lambda: jobs() == {"refused": 2} and not left(), say=lambda: f"{jobs()} {left()}")


def test_a_message_that_lies_about_its_own_key_leaves_redis_alone(processes: Processes) -> None:
    push(message(options={"redis_message_id": "the-other"}), key="mine")
    push(message(options={"redis_message_id": "mine", "throws": "me", "pipe_target": 1}), key="the-other")
    push(message(options=None) | {"options": ["odd"]}, key="third")
    processes.worker("requests", "enrollments")
    wait_until(lambda: jobs() == {"succeeded": 3} and not left(), say=lambda: f"{jobs()} {left()}")


def test_the_same_request_under_one_key_is_one_job(processes: Processes) -> None:
    processes.worker("requests", "enrollments")
    for _ in range(3):
        send(PutCompany(reference="R-1", name="Lorval"), "one")
    push(message('{"name": "Lorval", "reference": "R-1"}', key="one"))
    wait_until(lambda: not left() and rows("SELECT 1 FROM job WHERE state = 'succeeded'"))
    assert jobs() == {"succeeded": 1}


def test_another_request_under_the_same_key_is_refused_and_changes_nothing(processes: Processes) -> None:
    processes.worker("requests", "enrollments")
    send(PutCompany(reference="R-1", name="Lorval"), "one")
    wait_until(lambda: rows("SELECT 1 FROM job WHERE state = 'succeeded'"))
    send(PutCompany(reference="R-1", name="Autre"), "one")
    wait_until(lambda: len(rows("SELECT 1 FROM job")) == 2 and not left())
    assert rows("SELECT state, kind, error->>'code' FROM job ORDER BY created_at") == [
        ("succeeded", "put_company", None),
        ("refused", "put_company", Code.IDEMPOTENCY_CONFLICT),
    ]
    assert rows("SELECT name FROM company") == [("Lorval",)]


def test_a_request_waits_while_the_ledger_cannot_record_it(processes: Processes) -> None:
    change("ALTER TABLE idempotency RENAME TO idempotency_away")
    processes.worker("requests", "enrollments")
    send(PutCompany(reference="R-1", name="Lorval"), "one")
    push(b"noise")
    wait_until(lambda: processes.logs().count("accept.waits") >= 2, say=processes.logs)
    change("ALTER TABLE idempotency_away RENAME TO idempotency")
    wait_until(lambda: jobs() == {"succeeded": 1, "refused": 1} and not left())


def test_a_worker_that_stops_gives_back_what_it_could_not_record(processes: Processes) -> None:
    change("ALTER TABLE idempotency RENAME TO idempotency_away")
    first = processes.worker("requests", "enrollments", threads=2)
    for number in range(20):
        send(PutCompany(reference=f"R-{number}", name="Lorval"), f"key-{number}")
    wait_until(lambda: "accept.waits" in processes.logs(), say=processes.logs)
    first.terminate()
    first.wait(timeout=20)
    assert rows("SELECT 1 FROM job_attempt") == []
    change("ALTER TABLE idempotency_away RENAME TO idempotency")
    processes.worker("requests", "enrollments")
    wait_until(lambda: jobs() == {"succeeded": 20} and not left(), say=lambda: f"{jobs()} {left()}")


def test_a_bug_on_the_way_loses_no_message(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.actors import requests as door  # noqa: PLC0415
    from workers.portals import messages  # noqa: PLC0415

    def broken(*_: object) -> None:
        raise RecursionError("a bug")

    monkeypatch.setattr(messages, "parse", broken)
    sent = message()
    bundle = Bundle([SentMessage(b"1", json.dumps(sent).encode(), sent["kwargs"])])
    door.record_bundle(bundle)
    ((state, code),) = rows("SELECT state, error->>'code' FROM job")
    assert (state, code, bundle.recorded) == ("refused", Code.UNREADABLE_MESSAGE, 1)
