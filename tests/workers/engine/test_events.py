"""Events are owed in the transaction of their cause: once, numbered in the order of commits, to whom they concern."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import WebhookEvent
from tests.kit.builders.portal_events import add_endpoint, add_portal, owed
from tests.kit.processes.support import rows, wait_until
from workers.database import Session, before_commit, get_engine, transaction
from workers.engine.events import Event, defer, owe
from workers.engine.ledger import queues_to_wake

TEST = WebhookEvent.WEBHOOK_TEST
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def happened(portal_id: UUID, resource: str = "enrollment:1", event: WebhookEvent = TEST, **data: object) -> Event:
    return Event(portal_id, event, resource, data)


def commit(*events: Event) -> Session:
    with transaction() as session:
        owe(session, events)
    return session


def pause(reached: threading.Event, goes_on: threading.Event) -> None:
    """Waits at the end of a transaction, with all its locks held."""
    reached.set()
    assert goes_on.wait(20)


@pytest.fixture
def alpha(fresh_database: str) -> UUID:
    portal_id = add_portal("alpha")
    add_endpoint(portal_id)
    return portal_id


def test_an_event_is_one_row_with_its_number_and_its_portal(alpha: UUID) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    commit(happened(alpha, counts={"a": 1}))
    [one] = owed()
    assert one[:6] == ("alpha", "main", "webhook.test", "enrollment:1", 1, "owed")
    assert list(one.payload) == ["type", "timestamp", "data"]
    assert one.payload["type"] == "webhook.test"
    assert before < datetime.fromisoformat(one.payload["timestamp"]) < datetime.now(UTC) + timedelta(seconds=2)
    assert one.data == {"sequence": 1, "portal": "alpha", "counts": {"a": 1}}
    [times] = rows("SELECT queue, due_at = created_at, expires_at - created_at FROM webhook")
    assert times == ("webhooks", True, timedelta(hours=24))


def test_a_transaction_that_is_rolled_back_owes_nothing(alpha: UUID) -> None:
    def fail() -> None:
        with transaction() as session:
            owe(session, [happened(alpha)])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (owed(), rows("SELECT * FROM resource_sequence")) == ([], [])


def test_events_of_one_resource_are_numbered_in_their_order(alpha: UUID) -> None:
    commit(happened(alpha, at=1), happened(alpha, "enrollment:0", at=2), happened(alpha, at=3))
    commit(happened(alpha, at=4))
    told = [(one.resource, one.sequence, one.data["at"]) for one in owed()]
    assert told == [("enrollment:0", 1, 2), ("enrollment:1", 1, 1), ("enrollment:1", 2, 3), ("enrollment:1", 3, 4)]


def test_an_event_has_the_same_number_at_each_endpoint(alpha: UUID) -> None:
    add_endpoint(alpha, "other")
    add_endpoint(alpha, "picky", WebhookEvent.JOB_FINISHED)
    commit(happened(alpha), happened(alpha, event=WebhookEvent.JOB_FINISHED))
    assert [(one.endpoint, one.event, one.sequence) for one in owed()] == [
        ("main", "webhook.test", 1),
        ("main", "job.finished", 2),
        ("other", "webhook.test", 1),
        ("other", "job.finished", 2),
        ("picky", "job.finished", 2),
    ]
    [(lanes, ids)] = rows("SELECT count(DISTINCT lane), count(DISTINCT id) FROM webhook")
    assert (lanes, ids) == (3, 5)


def test_an_endpoint_is_told_only_what_it_asked_for(fresh_database: str) -> None:
    alpha = add_portal("alpha")
    add_endpoint(alpha, "main", WebhookEvent.JOB_FINISHED)
    commit(happened(alpha))
    assert (owed(), rows("SELECT * FROM resource_sequence")) == ([], [])


def test_no_portal_is_told_of_another(alpha: UUID) -> None:
    beta = add_portal("beta")
    add_endpoint(beta)
    commit(happened(alpha, who="alpha"), happened(beta, who="beta"), happened(LOCAL_PORTAL_ID, who="local"))
    assert [(one.portal, one.data["who"], one.sequence) for one in owed()] == [
        ("alpha", "alpha", 1),
        ("beta", "beta", 1),
    ]


def test_what_a_disabled_endpoint_would_be_told_is_held(fresh_database: str) -> None:
    alpha = add_portal("alpha")
    add_endpoint(alpha, disabled=True)
    session = commit(happened(alpha))
    assert [(one.state, one.sequence) for one in owed()] == [("held", 1)]
    assert rows("SELECT due_at, leased_until FROM webhook") == [(None, None)]
    assert queues_to_wake(session) == set()


def test_senders_are_woken_for_what_they_can_send(alpha: UUID) -> None:
    assert queues_to_wake(commit(happened(alpha))) == {"webhooks"}
    assert queues_to_wake(commit()) == set()


def test_numbers_of_a_resource_follow_the_order_of_commits(alpha: UUID, threads: ThreadPoolExecutor) -> None:
    first_wrote, first_may_end = threading.Event(), threading.Event()

    def first() -> None:
        with transaction() as session:
            owe(session, [happened(alpha, who="first")])
            before_commit(session, lambda _: pause(first_wrote, first_may_end))

    def second() -> None:
        commit(happened(alpha, who="second"))

    ahead = threads.submit(first)
    assert first_wrote.wait(20)
    behind = threads.submit(second)
    wait_until(lambda: rows(WAITING) == [(1,)])
    first_may_end.set()
    ahead.result()
    behind.result()
    assert [(one.sequence, one.data["who"]) for one in owed()] == [(1, "first"), (2, "second")]


def test_transactions_that_owe_the_same_in_other_orders_do_not_deadlock(
    alpha: UUID, threads: ThreadPoolExecutor
) -> None:
    beta = add_portal("beta")
    add_endpoint(beta)
    events = [happened(portal, f"enrollment:{number:02}") for portal in (alpha, beta) for number in range(40)]

    def many(number: int) -> None:
        for _ in range(10):
            commit(*(events if number % 2 else reversed(events)))

    assert list(threads.map(many, range(8))) == [None] * 8
    assert rows("SELECT DISTINCT sequence FROM resource_sequence") == [(80,)]
    assert rows("SELECT count(*) FROM (SELECT DISTINCT portal_id, resource, sequence FROM webhook) t") == [(6_400,)]


def test_without_an_endpoint_a_transaction_costs_one_look(fresh_database: str) -> None:
    alpha, looks = add_portal("alpha"), statements()
    commit(*(happened(alpha, f"enrollment:{number}") for number in range(200)))
    assert [one.split()[0] for one in looks] == ["SELECT"]
    assert owed() == []


def test_many_events_cost_one_look_and_one_statement(alpha: UUID) -> None:
    looks = statements()
    commit(*(happened(alpha, f"enrollment:{number}") for number in range(200)))
    assert [one.split()[0] for one in looks] == ["SELECT", "WITH"]
    assert len(owed()) == 200


def test_facts_are_read_only_for_an_endpoint_that_wants_them(fresh_database: str) -> None:
    alpha, found, full = add_portal("alpha"), [], WebhookEvent.CONTRACT_FULL

    def find(_: Session) -> list[Event]:
        found.append(1)
        return [happened(alpha, event=full)]

    def looked() -> int:
        with transaction() as session:
            defer(session, {alpha}, {full}, find)
        return len(found)

    assert looked() == 0
    add_endpoint(alpha, "other", WebhookEvent.JOB_FINISHED)
    assert looked() == 0
    add_endpoint(alpha, "main", full)
    assert (looked(), [one.endpoint for one in owed()]) == (1, ["main"])


def test_a_deleted_endpoint_and_what_it_is_owed_meet_in_order(alpha: UUID, threads: ThreadPoolExecutor) -> None:
    wrote, may_end = threading.Event(), threading.Event()

    def tell() -> None:
        with transaction() as session:
            owe(session, [happened(alpha)])
            before_commit(session, lambda _: pause(wrote, may_end))

    def disable() -> int:
        with transaction() as session:
            session.execute(text("SELECT FROM webhook_endpoint FOR UPDATE"))
            return int(session.execute(text("SELECT count(*) FROM webhook")).scalar_one())

    telling = threads.submit(tell)
    assert wrote.wait(20)
    disabling = threads.submit(disable)
    wait_until(lambda: rows(WAITING) == [(1,)])
    may_end.set()
    telling.result()
    assert disabling.result() == 1


def statements() -> list[str]:
    """Returns a list to which every statement of this process is added, from now on."""
    seen: list[str] = []
    sql_event.listen(get_engine(), "before_cursor_execute", lambda _c, _cur, statement, *_: seen.append(statement))
    return seen


def test_a_large_transaction_is_written_in_parts(alpha: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.engine.events.PART", 3)
    add_endpoint(alpha, "other")
    resources = [f"enrollment:{new_id()}" for _ in range(4)]
    commit(*(happened(alpha, one, at=at) for at in range(3) for one in resources))
    told = [(one.endpoint, one.resource, one.sequence, one.data["at"]) for one in owed()]
    assert told == [(e, r, at + 1, at) for e in ("main", "other") for r in sorted(resources) for at in range(3)]
