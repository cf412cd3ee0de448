"""The reader of the door is killed or frozen at each step: no request is lost, doubled or overtaken by a later one."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from scripts.embedded.valkey import Valkey
from tests.kit.actors.messages import client, left, message
from tests.kit.processes.support import Processes, rows, wait_until
from workers.database import transaction
from workers.engine.door_lease import HOLD_SECONDS, lease_key

pytestmark = pytest.mark.serial

DOOR = "requests"
STEPS = {"after the fetch": "portal", "while it records": "idempotency"}
"""The table that a test locks, so that the reader waits at this step."""


def send(numbers: range) -> None:
    """Sends requests at one moment, so that the reader fetches them together."""
    queue = f"{os.environ['REDIS_NAMESPACE']}:{DOOR}"
    with client() as opened, opened.pipeline() as together:
        for number in numbers:
            name = f"key-{number:03}"
            together.hset(f"{queue}.msgs", name, json.dumps(message(key=name)))
            together.rpush(queue, name)
        together.execute()


def recorded() -> list[object]:
    """Returns the keys of all requests in the order in which they were recorded."""
    return [
        key
        for (key,) in rows("SELECT i.key FROM job j JOIN idempotency i ON i.job_id = j.id ORDER BY j.sequence_number")
    ]


def in_order(count: int) -> list[str]:
    return [f"key-{number:03}" for number in range(count)]


def taken() -> int:
    with client() as opened:
        return int(opened.llen(f"{os.environ['REDIS_NAMESPACE']}:{DOOR}.taken"))


def reader() -> int:
    """Returns the number of the process that holds the door, or 0."""
    with client() as opened:
        holder = opened.get(lease_key(os.environ["REDIS_NAMESPACE"], DOOR))
    return int(holder.decode().split(":")[1]) if isinstance(holder, bytes) else 0


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Keeps every process from this table during the block."""
    with transaction() as session:
        session.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield


def two_readers(processes: Processes) -> subprocess.Popen[bytes]:
    """Starts a process that holds the door and one that waits for it; returns the first."""
    first = processes.worker(DOOR, threads=2)
    wait_until(reader, say=processes.logs)
    processes.worker(DOOR, threads=2)
    wait_until(lambda: rows("SELECT count(*) FROM process") == [(2,)], say=processes.logs)
    return first


def all_is_recorded_once(processes: Processes, count: int) -> None:
    wait_until(lambda: len(recorded()) >= count, say=processes.logs)
    assert recorded() == in_order(count)
    wait_until(lambda: not [name for name in left() if f":{DOOR}" in name], say=lambda: str(left()))
    assert rows("SELECT count(*) FROM job") == [(count,)]


@pytest.mark.parametrize("table", STEPS.values(), ids=STEPS)
def test_a_killed_readers_requests_are_recorded_first(valkey: Valkey, processes: Processes, table: str) -> None:
    first = two_readers(processes)
    with locked(table):
        send(range(30))
        wait_until(lambda: taken() == 30, say=processes.logs)
        send(range(30, 60))
        processes.kill(first)
        wait_until(lambda: reader() not in (0, first.pid), seconds=HOLD_SECONDS + 5, say=processes.logs)
    all_is_recorded_once(processes, 60)


def test_requests_of_a_reader_killed_after_its_commit_are_not_doubled(valkey: Valkey, processes: Processes) -> None:
    first = two_readers(processes)
    with locked("idempotency"):
        send(range(30))
        wait_until(lambda: taken() == 30, say=processes.logs)
        send(range(30, 60))
        assert valkey.pid
        os.kill(valkey.pid, signal.SIGSTOP)  # so that nothing can be acknowledged
    try:
        wait_until(lambda: len(recorded()) == 30, say=processes.logs)
        processes.kill(first)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    assert taken() == 30
    all_is_recorded_once(processes, 60)


@pytest.mark.parametrize("table", STEPS.values(), ids=STEPS)
def test_a_frozen_reader_that_wakes_up_doubles_nothing(valkey: Valkey, processes: Processes, table: str) -> None:
    two_readers(processes)
    frozen = reader()
    with locked(table):
        send(range(30))
        wait_until(lambda: taken() == 30, say=processes.logs)
        os.kill(frozen, signal.SIGSTOP)
        send(range(30, 60))
        wait_until(lambda: reader() not in (0, frozen), seconds=HOLD_SECONDS + 5, say=processes.logs)
    if table == "portal":  # it has begun nothing: the other records all before it wakes up
        wait_until(lambda: len(recorded()) == 60, say=processes.logs)
    os.kill(frozen, signal.SIGCONT)
    all_is_recorded_once(processes, 60)
    send(range(60, 70))
    all_is_recorded_once(processes, 70)


def test_a_killed_reader_that_was_alone_is_followed_by_the_next(valkey: Valkey, processes: Processes) -> None:
    for round_number in range(3):
        start = 40 * round_number
        alone = processes.worker(DOOR, threads=2)
        wait_until(reader, say=processes.logs)
        with locked("idempotency"):
            send(range(start, start + 20))
            wait_until(lambda: taken() == 20, say=processes.logs)
            send(range(start + 20, start + 40))
            processes.kill(alone)
        heir = processes.worker(DOOR, threads=2)
        all_is_recorded_once(processes, start + 40)
        heir.terminate()
        heir.wait(timeout=20)


def test_a_reader_that_stops_in_order_leaves_the_door_at_once(valkey: Valkey, processes: Processes) -> None:
    first = two_readers(processes)
    send(range(10))
    all_is_recorded_once(processes, 10)
    holder = reader()
    first.terminate()
    wait_until(lambda: reader() not in (0, holder), say=processes.logs)
    assert first.wait(timeout=10) == 0
    send(range(10, 20))
    all_is_recorded_once(processes, 20)
