"""The reader of the door is killed or frozen at each step: no request is lost, doubled or overtaken by a later one."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from scripts.embedded.valkey import Valkey
from tests.kit.actors.messages import client, demo, entry_of, left, message, stream
from tests.kit.processes.support import Processes, rows, wait_until
from workers.database import transaction
from workers.engine.door_lease import HOLD_SECONDS, lease_key

pytestmark = pytest.mark.heavy

STEPS = {"before or after the fetch": "portal", "while it records": "idempotency"}
"""The table that a test locks, so that the reader waits at this step."""

DOORS = {"list": "requests", "stream": "streams"}
"""The two doors of portals, each with the name of its lease."""


class SendingPortal:
    """A portal that sends by one of the doors.

    Parameters:
      door: the name of the lease of this door.
    """

    def __init__(self, door: str) -> None:
        self.door = door

    def send(self, numbers: range) -> None:
        """Sends requests at one moment, so that the reader fetches them together."""
        queue = f"{os.environ['REDIS_NAMESPACE']}:requests"
        with client() as opened, opened.pipeline() as together:
            for number in numbers:
                name = f"key-{number:03}"
                sent = message(key=name)
                if self.door == "requests":
                    together.hset(f"{queue}.msgs", name, json.dumps(sent))
                    together.rpush(queue, name)
                else:
                    together.xadd(stream(), entry_of(sent["kwargs"]))
            together.execute()

    def reader(self) -> int:
        """Returns the number of the process that holds the door, or 0."""
        with client() as opened:
            holder = opened.get(lease_key(os.environ["REDIS_NAMESPACE"], self.door))
        return int(holder.decode().split(":")[1]) if isinstance(holder, bytes) else 0

    def two_readers(self, processes: Processes) -> int:
        """Starts a process that holds the door and one that waits for it; returns the number of the first."""
        demo()  # its key is made before any table is locked
        processes.worker("requests", threads=2)
        wait_until(self.reader, say=processes.logs)
        processes.worker("requests", threads=2)
        wait_until(lambda: rows("SELECT count(*) FROM process") == [(2,)], say=processes.logs)
        return self.reader()


@pytest.fixture(params=DOORS)
def portal(request: pytest.FixtureRequest) -> SendingPortal:
    return SendingPortal(DOORS[request.param])


def recorded() -> list[object]:
    """Returns the keys of all requests in the order in which they were recorded."""
    return [
        key
        for (key,) in rows("SELECT i.key FROM job j JOIN idempotency i ON i.job_id = j.id ORDER BY j.sequence_number")
    ]


def in_order(count: int) -> list[str]:
    return [f"key-{number:03}" for number in range(count)]


def waits_for(table: str) -> bool:
    """Tells whether a process waits for this table, which the test has locked."""
    asked = "SELECT 1 FROM pg_locks WHERE relation = CAST(:table AS regclass) AND NOT granted"
    return bool(rows(asked, table=table))


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Keeps every process from this table during the block."""
    with transaction() as session:
        session.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield


def is_of_a_door(name: str) -> bool:
    return ":requests" in name or ":stream:" in name


def all_is_recorded_once(processes: Processes, count: int) -> None:
    wait_until(lambda: len(recorded()) >= count, say=processes.logs)
    assert recorded() == in_order(count)
    wait_until(lambda: not [name for name in left() if is_of_a_door(name)], say=lambda: str(left()))
    assert rows("SELECT count(*) FROM job") == [(count,)]


@pytest.mark.parametrize("table", STEPS.values(), ids=STEPS)
def test_a_killed_readers_requests_are_recorded_first(
    valkey: Valkey, processes: Processes, portal: SendingPortal, table: str
) -> None:
    first = portal.two_readers(processes)
    with locked(table):
        portal.send(range(30))
        wait_until(lambda: waits_for(table), say=processes.logs)
        portal.send(range(30, 60))
        processes.kill(processes.started[0])
        wait_until(lambda: portal.reader() not in (0, first), seconds=HOLD_SECONDS + 5, say=processes.logs)
    all_is_recorded_once(processes, 60)


def test_requests_of_a_reader_killed_after_its_commit_are_not_doubled(
    valkey: Valkey, processes: Processes, portal: SendingPortal
) -> None:
    portal.two_readers(processes)
    with locked("idempotency"):
        portal.send(range(30))
        wait_until(lambda: waits_for("idempotency"), say=processes.logs)
        portal.send(range(30, 60))
        assert valkey.pid
        os.kill(valkey.pid, signal.SIGSTOP)  # so that nothing can be acknowledged
    try:
        wait_until(lambda: len(recorded()) == 30, say=processes.logs)
        processes.kill(processes.started[0])
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    all_is_recorded_once(processes, 60)


@pytest.mark.parametrize("table", STEPS.values(), ids=STEPS)
def test_a_frozen_reader_that_wakes_up_doubles_nothing(
    valkey: Valkey, processes: Processes, portal: SendingPortal, table: str
) -> None:
    frozen = portal.two_readers(processes)
    with locked(table):
        portal.send(range(30))
        wait_until(lambda: waits_for(table), say=processes.logs)
        os.kill(frozen, signal.SIGSTOP)
        portal.send(range(30, 60))
        wait_until(lambda: portal.reader() not in (0, frozen), seconds=HOLD_SECONDS + 5, say=processes.logs)
    if table == "portal":  # it has begun nothing: the other records all before it wakes up
        wait_until(lambda: len(recorded()) == 60, say=processes.logs)
    os.kill(frozen, signal.SIGCONT)
    all_is_recorded_once(processes, 60)
    portal.send(range(60, 70))
    all_is_recorded_once(processes, 70)


def test_a_killed_reader_that_was_alone_is_followed_by_the_next(
    valkey: Valkey, processes: Processes, portal: SendingPortal
) -> None:
    demo()
    for round_number in range(3):
        start = 40 * round_number
        alone = processes.worker("requests", threads=2)
        wait_until(portal.reader, say=processes.logs)
        with locked("idempotency"):
            portal.send(range(start, start + 20))
            wait_until(lambda: waits_for("idempotency"), say=processes.logs)
            portal.send(range(start + 20, start + 40))
            processes.kill(alone)
        heir = processes.worker("requests", threads=2)
        all_is_recorded_once(processes, start + 40)
        heir.terminate()
        heir.wait(timeout=20)


def test_a_reader_that_stops_in_order_leaves_the_door_at_once(
    valkey: Valkey, processes: Processes, portal: SendingPortal
) -> None:
    holder, first = portal.two_readers(processes), processes.started[0]
    portal.send(range(10))
    all_is_recorded_once(processes, 10)
    first.terminate()
    wait_until(lambda: portal.reader() not in (0, holder), say=processes.logs)
    assert first.wait(timeout=10) == 0
    portal.send(range(10, 20))
    all_is_recorded_once(processes, 20)
