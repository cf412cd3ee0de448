"""Wakes queues from a thread of its own, so that no work waits for Redis."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from workers.database import Session, transaction
from workers.engine.broker import wake
from workers.engine.ledger import queues_to_wake


class Waker:
    """Wakes queues for all threads of this process, one queue after the other (a debounce).

    Every call is followed by a wake-up that begins after it; calls that come while a queue is being woken share the
    next one.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, None] = {}
        self._lock = threading.Lock()
        self._asked = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None

    def wake_soon(self, queue: str) -> None:
        """Asks the waking thread to wake the queue, and returns at once."""
        with self._asked:
            self._wanted[queue] = None
            if self._thread is None or not self._thread.is_alive():  # not before the fork: threads do not survive it
                self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
                self._thread.start()
            self._asked.notify()

    def _run(self) -> None:
        while True:
            with self._asked:
                while not self._wanted:
                    self._asked.wait()
                wanted, self._wanted = self._wanted, {}
            for queue in wanted:
                wake(queue)


WAKER: Final = Waker()


@contextmanager
def waking_transaction() -> Iterator[Session]:
    """Opens a transaction, and after its commit wakes the queues on which it owed work."""
    with transaction() as session:
        yield session
    for queue in queues_to_wake(session):
        WAKER.wake_soon(queue)
