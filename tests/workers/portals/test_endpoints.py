"""Endpoints of portals: recorded once, changed, given another secret, disabled and enabled, deleted."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, WebhookEvent
from tests.kit.builders.portal_events import add_endpoint, add_portal, owed
from tests.kit.processes.support import change, rows, wait_until
from workers.database import Session, before_commit, transaction
from workers.engine.events import Event, owe
from workers.engine.ledger import queues_to_wake
from workers.errors import InvalidRequest
from workers.portals.endpoints import (
    MOST_ENDPOINTS,
    delete_endpoint,
    enable_endpoint,
    get_endpoint,
    list_endpoints,
    put_endpoint,
    rotate_secret,
    send_test,
)
from workers.portals.secrets import webhook_secret

URL = "https://portal.example/hook"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def portal(session: Session, name: str = "alpha") -> UUID:
    portal_id = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, :name)"), {"id": portal_id, "name": name})
    return portal_id


def refused(doing: Callable[[], object]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as found:
        doing()
    return [(problem.code, problem.field) for problem in found.value.problems]


def test_an_endpoint_is_recorded_once_with_a_secret_that_is_not_stored(session: Session) -> None:
    alpha = portal(session)
    put = put_endpoint(session, alpha, "lms", URL, ["job.finished"])
    again = put_endpoint(session, alpha, "lms", URL, ["job.finished"])
    assert (put.created, again.created, again.endpoint.id) == (True, False, put.endpoint.id)
    assert put.endpoint.secret == webhook_secret("test", put.endpoint.id, 1)
    kept = str(session.execute(text("SELECT CAST(w AS text) FROM webhook_endpoint w")).all())
    assert put.endpoint.secret.removeprefix("whsec_") not in kept
    assert "secret" not in str(put.endpoint.as_json())
    told = {name: put.endpoint.as_json()[name] for name in ("reference", "url", "events", "enabled", "failures")}
    assert told == {"reference": "lms", "url": URL, "events": ["job.finished"], "enabled": True, "failures": 0}


def test_another_url_is_tried_at_once(session: Session) -> None:
    alpha = portal(session)
    put_endpoint(session, alpha, "lms", URL)
    failing = "UPDATE webhook_endpoint SET failures = 7, failing_since = now(), next_try_at = now()"
    for url, failures in ((URL, 7), (URL + "s", 0)):
        session.execute(text(failing))
        put_endpoint(session, alpha, "lms", url, ["contract.full"])
        found = get_endpoint(session, alpha, "lms")
        assert (found.url, found.failures, found.next_try_at is None) == (url, failures, failures == 0)
        assert found.events == ["contract.full"]


def test_what_no_endpoint_may_have_is_refused_field_by_field(session: Session) -> None:
    alpha = portal(session)
    wrong = refused(lambda: put_endpoint(session, alpha, "l ms", "http://portal.example", ["job.done"]))
    assert wrong == [("unsafe_value", "reference"), ("invalid_url", "url"), ("invalid_request", "events")]
    assert refused(lambda: put_endpoint(session, alpha, "lms", "https://a..b/")) == [("invalid_url", "url")]
    assert refused(lambda: put_endpoint(session, alpha, "lms", URL, [])) == [("invalid_request", "events")]
    assert refused(lambda: put_endpoint(session, LOCAL_PORTAL_ID, "lms", URL)) == [("invalid_request", "portal")]
    assert put_endpoint(session, alpha, "dev", "http://127.0.0.1:9", private=True).created


def test_a_portal_has_a_bounded_number_of_endpoints(session: Session) -> None:
    alpha = portal(session)
    for number in range(MOST_ENDPOINTS):
        put_endpoint(session, alpha, f"lms-{number:02}", URL)
    assert refused(lambda: put_endpoint(session, alpha, "more", URL)) == [("invalid_request", "reference")]
    assert not put_endpoint(session, alpha, "lms-00", URL).created


def test_endpoints_of_another_portal_are_not_found(session: Session) -> None:
    alpha, beta = portal(session), portal(session, "beta")
    put_endpoint(session, alpha, "lms", URL)
    foreign: list[Callable[[], object]] = [
        lambda: get_endpoint(session, beta, "lms"),
        lambda: delete_endpoint(session, beta, "lms"),
        lambda: rotate_secret(session, beta, "lms"),
        lambda: enable_endpoint(session, beta, "lms", all_since=True),
        lambda: send_test(session, beta, "lms"),
    ]
    assert [refused(one) for one in foreign] == [[(Code.NOT_FOUND, "reference")]] * 5
    assert put_endpoint(session, beta, "lms", URL).created
    assert [len(list_endpoints(session, one)) for one in (alpha, beta)] == [1, 1]


def test_after_a_rotation_the_earlier_secret_signs_for_a_day(session: Session) -> None:
    alpha = portal(session)
    first = put_endpoint(session, alpha, "lms", URL).endpoint
    second = rotate_secret(session, alpha, "lms")
    assert (first.secret != second.secret, second.secret_version) == (True, 2)
    left = session.execute(text("SELECT previous_until - now() FROM webhook_endpoint")).scalar_one()
    assert left == timedelta(hours=24)


def test_changes_are_in_the_audit_trail_without_the_url(session: Session) -> None:
    alpha = portal(session)
    put_endpoint(session, alpha, "lms", URL + "?token=abc", requested_by="shell:zoe")
    rotate_secret(session, alpha, "lms")
    enable_endpoint(session, alpha, "lms", all_since=False)
    delete_endpoint(session, alpha, "lms", requested_by="shell:zoe")
    found = session.execute(text("SELECT action, requested_by, CAST(detail AS text) FROM audit ORDER BY id")).all()
    assert [one[0] for one in found] == [
        "put_webhook_endpoint", "rotate_webhook_secret", "enable_webhook_endpoint", "delete_webhook_endpoint",
    ]  # fmt: skip
    assert "abc" not in str(found)


def disabled_with_three() -> UUID:
    alpha = add_portal("alpha")
    add_endpoint(alpha, disabled=True)
    with transaction() as session:
        owe(session, [Event(alpha, WebhookEvent.CONTRACT_FULL, f"contract:{number}", {}) for number in range(3)])
    change("UPDATE webhook SET expires_at = now() - interval '1 day', failures = 4")
    return alpha


def test_an_endpoint_that_is_enabled_is_sent_all_that_was_held(fresh_database: str) -> None:
    alpha = disabled_with_three()
    with transaction() as session:
        assert enable_endpoint(session, alpha, "main", all_since=True) == 3
    assert queues_to_wake(session) == {"webhooks"}
    assert [one.state for one in owed()] == ["owed"] * 3
    assert rows("SELECT DISTINCT due_at <= now(), failures, expires_at > now() + interval '23 hours' FROM webhook") == [
        (True, 0, True)
    ]
    with transaction() as session:
        found = get_endpoint(session, alpha, "main")
        owe(session, [Event(alpha, WebhookEvent.CONTRACT_FULL, "contract:9", {})])
    assert (found.disabled_at, found.as_json()["enabled"]) == (None, True)
    assert [one.state for one in owed()] == ["owed"] * 4


def test_an_endpoint_may_be_enabled_from_here_on(fresh_database: str) -> None:
    alpha = disabled_with_three()
    with transaction() as session:
        assert enable_endpoint(session, alpha, "main", all_since=False) == 3
        owe(session, [Event(alpha, WebhookEvent.CONTRACT_FULL, "contract:9", {})])
    assert [one.state for one in owed()] == ["failed"] * 3 + ["owed"]
    assert rows("SELECT count(*) FROM webhook WHERE state = 'failed' AND finished_at IS NOT NULL") == [(3,)]


def test_nothing_stays_held_that_is_owed_while_an_endpoint_is_enabled(
    fresh_database: str, threads: ThreadPoolExecutor
) -> None:
    alpha, wrote, may_end = disabled_with_three(), threading.Event(), threading.Event()

    def pause(_: Session) -> None:
        wrote.set()
        assert may_end.wait(20)

    def tell() -> None:
        with transaction() as session:
            owe(session, [Event(alpha, WebhookEvent.CONTRACT_FULL, "contract:9", {})])
            before_commit(session, pause)

    def enable() -> int:
        with transaction() as session:
            return enable_endpoint(session, alpha, "main", all_since=True)

    telling = threads.submit(tell)
    assert wrote.wait(20)
    enabling = threads.submit(enable)
    wait_until(lambda: rows(WAITING) == [(1,)])
    may_end.set()
    telling.result()
    assert (enabling.result(), {one.state for one in owed()}) == (4, {"owed"})


def test_a_deleted_endpoint_is_told_nothing(fresh_database: str) -> None:
    alpha = disabled_with_three()
    with transaction() as session:
        delete_endpoint(session, alpha, "main")
        owe(session, [Event(alpha, WebhookEvent.CONTRACT_FULL, "contract:9", {})])
    assert owed() == []


def test_a_test_goes_to_one_endpoint_whatever_it_wants(fresh_database: str) -> None:
    alpha = add_portal("alpha")
    add_endpoint(alpha, "main", "job.finished")
    other = add_endpoint(alpha, "other", "job.finished")
    for _ in range(2):
        with transaction() as session:
            send_test(session, alpha, "other")
    assert [(one.endpoint, one.event, one.resource, one.sequence, one.data["endpoint"]) for one in owed()] == [
        ("other", "webhook.test", f"endpoint:{other}", 1, "other"),
        ("other", "webhook.test", f"endpoint:{other}", 2, "other"),
    ]
