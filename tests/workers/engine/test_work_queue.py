"""Threads of a process wait for a message without waking up; a stop ends their wait at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Empty

import pytest

from tests.kit.processes.support import wait_until
from workers.engine.processes import WorkQueue
from workers.engine.stopping import STOPPING

MANY = 8


@pytest.fixture
def queue() -> Iterator[WorkQueue]:
    """Creates a queue; its waits end with the test."""
    made = WorkQueue()
    yield made
    STOPPING.set()
    made.end_waits()
    STOPPING.clear()


def waiting(queue: WorkQueue) -> int:
    """Counts the threads that wait in the queue."""
    return len(queue.not_empty._waiters)  # type: ignore[attr-defined]


def test_a_thread_waits_for_a_message_past_the_time_limit_of_dramatiq(queue: WorkQueue) -> None:
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(queue.get, timeout=0)
        wait_until(lambda: waiting(queue) == 1)
        queue.put(7)
        assert found.result(10) == 7


def test_each_message_wakes_a_thread_of_many(queue: WorkQueue) -> None:
    with ThreadPoolExecutor(MANY) as threads:
        found = [threads.submit(queue.get) for _ in range(MANY)]
        wait_until(lambda: waiting(queue) == MANY)
        for number in range(MANY):
            queue.put(number)
        assert {one.result(10) for one in found} == set(range(MANY))


def test_a_stop_ends_the_wait_of_every_thread(queue: WorkQueue) -> None:
    with ThreadPoolExecutor(MANY) as threads:
        found = [threads.submit(queue.get) for _ in range(MANY)]
        wait_until(lambda: waiting(queue) == MANY)
        STOPPING.set()
        queue.end_waits()
        assert all(isinstance(one.exception(10), Empty) for one in found)


def test_a_look_into_an_empty_queue_does_not_wait(queue: WorkQueue) -> None:
    with pytest.raises(Empty):
        queue.get_nowait()
