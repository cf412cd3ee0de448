"""A bundle of requests is recorded in the order of sending, with one commit; a bad one among them harms no other."""

import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, event

from models.words import Code
from tests.kit.actors.messages import COMPANY, message
from tests.kit.processes.support import change, rows
from workers.actors import requests as door
from workers.database import get_engine
from workers.engine import tries
from workers.engine.claimer import STOPPING
from workers.engine.door import Bundle, SentMessage
from workers.engine.wake import WAKER
from workers.requests.queues import Queue

pytestmark = pytest.mark.usefixtures("running", "fresh_database")


def asked(key: str, *, name: str = "Lorval", **changes: object) -> SentMessage:
    """Returns a request to put a company, as it came through the door."""
    return sent(message(json.dumps(COMPANY | {"name": name}), key=key, **changes))


def sent(fields: dict[str, Any]) -> SentMessage:
    return SentMessage(uuid4().hex.encode(), json.dumps(fields).encode(), fields["kwargs"])


def noise(data: bytes) -> SentMessage:
    return SentMessage(uuid4().hex.encode(), data, None)


def recorded(*messages: SentMessage) -> Bundle:
    """Records a bundle of these messages."""
    bundle = Bundle(messages)
    door.record_bundle(bundle)
    return bundle


def in_order() -> list[tuple[object, ...]]:
    """Returns key, state and code of each job in the order of recording."""
    return rows(
        "SELECT i.key, j.state, j.error ->> 'code' FROM job j JOIN idempotency i ON i.job_id = j.id"
        " ORDER BY j.sequence_number"
    )


def count_commits(engine: Engine) -> list[object]:
    counted: list[object] = []
    event.listen(engine, "commit", counted.append)
    return counted


def test_a_bundle_is_recorded_in_order_with_one_commit() -> None:
    recorded(asked("first"))  # knows the portal from now on
    commits = count_commits(get_engine())
    bundle = recorded(*(asked(f"key-{number:02}") for number in range(50)))
    assert len(commits) == 1
    assert bundle.recorded == 50
    assert [key for key, *_ in in_order()] == ["first", *(f"key-{number:02}" for number in range(50))]


def test_lanes_and_queues_do_not_change_the_order_of_a_bundle() -> None:
    def people(count: int) -> list[dict[str, str]]:
        return [{"email": f"p{number}@example.com", "first_name": "P", "last_name": "L"} for number in range(count)]

    wanted = []
    for number in range(30):
        body = {"contract": f"C-{30 - number}", "people": people(1_001 if number == 7 else 1)}
        wanted.append(sent(message(json.dumps(body), kind="enroll", key=f"key-{number:02}")))
    recorded(*wanted)
    assert [key for key, *_ in in_order()] == [f"key-{number:02}" for number in range(30)]
    assert rows("SELECT count(*) FROM job WHERE queue = 'rosters'") == [(1,)]


def test_of_two_requests_with_one_key_the_first_is_accepted() -> None:
    bundle = recorded(asked("same"), asked("same"), asked("other"), asked("same", name="Autre"))
    assert bundle.recorded == 4
    states = [(key if key in ("same", "other") else "", state, code) for key, state, code in in_order()]
    assert states == [
        ("same", "queued", None),
        ("other", "queued", None),
        ("", "refused", Code.IDEMPOTENCY_CONFLICT),
    ]
    assert rows("SELECT request ->> 'name' FROM job WHERE state = 'queued'") == [("Lorval",), ("Lorval",)]


def test_many_requests_with_one_key_are_answered_by_the_first() -> None:
    recorded(*(asked("same", name=f"Name {number}") for number in range(100)))
    assert rows("SELECT request ->> 'name' FROM job WHERE state = 'queued'") == [("Name 0",)]


def test_a_repeat_and_a_conflict_with_an_earlier_bundle_are_told_apart() -> None:
    recorded(asked("one"))
    bundle = recorded(asked("one"), asked("one", name="Autre"), asked("two"))
    assert bundle.recorded == 3
    assert [(state, code) for _, state, code in in_order()] == [
        ("queued", None),
        ("queued", None),
        ("refused", Code.IDEMPOTENCY_CONFLICT),
    ]


def test_what_is_refused_stands_between_its_neighbours() -> None:
    bundle = recorded(asked("a"), noise(b"\x80"), asked("b", version=9), asked("c"), asked("d", portal="nowhere"))
    assert bundle.recorded == 5
    assert [code for *_, code in in_order()] == [
        None,
        Code.UNREADABLE_MESSAGE,
        Code.UNKNOWN_KIND,
        None,
        Code.UNAUTHORIZED,
    ]


@pytest.mark.parametrize(
    ("table", "rule", "key"),
    [("job", "request ->> 'name' <> 'Poison'", "poison"), ("idempotency", "key <> 'poison'", "kept by its bytes")],
    ids=["it cannot be a job", "even its key cannot be recorded"],
)
def test_a_request_that_makes_its_bundle_fail_is_refused_alone(table: str, rule: str, key: str) -> None:
    change(f"ALTER TABLE {table} ADD CONSTRAINT odd CHECK ({rule})")
    bundle = recorded(asked("a"), asked("b"), asked("poison", name="Poison"), asked("c"))
    assert bundle.recorded == 4
    shown = [("kept by its bytes" if str(key).startswith("refused-") else key, state) for key, state, _ in in_order()]
    assert shown == [("a", "queued"), ("b", "queued"), (key, "refused"), ("c", "queued")]


def test_while_postgresql_is_away_nothing_is_recorded_and_all_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "PAUSES", (0.01, 0.01))
    recorded(asked("first"))
    change("ALTER TABLE idempotency RENAME TO idempotency_away")
    bundle = recorded(asked("a"), asked("b"))
    change("ALTER TABLE idempotency_away RENAME TO idempotency")
    assert (bundle.recorded, len(in_order())) == (0, 1)


def test_a_process_that_stops_leaves_a_bundle_it_cannot_record() -> None:
    recorded(asked("first"))
    STOPPING.set()
    change("ALTER TABLE idempotency RENAME TO idempotency_away")
    bundle = recorded(asked("a"))
    change("ALTER TABLE idempotency_away RENAME TO idempotency")
    assert bundle.recorded == 0


def test_a_bundle_wakes_each_queue_once(monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[str] = []
    monkeypatch.setattr(WAKER, "wake_soon", woken.append)
    recorded(*(asked(f"key-{number}") for number in range(20)))
    assert woken == [Queue.ENROLLMENTS]
    recorded(asked("key-1"))
    assert woken == [Queue.ENROLLMENTS]  # a repeat owes nothing
