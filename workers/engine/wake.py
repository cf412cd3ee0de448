"""Ringing bells without making anybody wait for Redis."""

import threading
from typing import Final

from workers.engine.broker import wake


class Waker:
    """Rings for all threads of this process, one bell after the other, so that none of them waits for Redis.

    Every call is followed by a ring that begins after it; calls that come while one is being rung share the next.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, None] = {}
        self._lock = threading.Lock()
        self._asked = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None

    def ring_soon(self, queue: str) -> None:
        """Returns at once; the bell is rung by a thread of its own."""
        with self._asked:
            self._wanted[queue] = None
            if self._thread is None or not self._thread.is_alive():  # not before the fork: threads do not survive it
                self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)
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
