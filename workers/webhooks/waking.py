"""Listens for wake-ups of a queue in Redis, in a thread: it waits inside Redis, as the consumers of other queues do."""

import threading
from collections.abc import Callable

import redis

from workers.engine.broker import take_wake_flag
from workers.engine.consumer import SHORTEST_PAUSE, WAIT_SECONDS
from workers.engine.stopping import DRAINED_WAIT, DRAINING
from workers.logs import SeldomLog
from workers.redis_client import connect, error_code
from workers.settings import get_settings

LONGEST_PAUSE = 5.0
"""Seconds between two tries while Redis is away; the sender looks by itself as often."""

SELDOM = SeldomLog()


class WakeListener(threading.Thread):
    """Calls a function at each wake-up of a queue; it never raises, and ends within about a second of `stop`.

    A wake-up is a dramatiq message without data, so that the sides that wake need not know who listens. It is taken out
    of Redis unread, with all others that wait: one look at the database answers them all.

    Parameters:
      queue: the queue.
      woken: called at each wake-up, in this thread.
    """

    def __init__(self, queue: str, woken: Callable[[], object]) -> None:
        super().__init__(name="wake-listener", daemon=True)
        settings = get_settings()
        self._queue = queue
        self._list = f"{settings.redis_namespace}:{queue}"
        self._blocking = settings.redis_blocking
        self._client = connect(settings.redis_url, retries=0, seconds=WAIT_SECONDS + 4)
        self._woken = woken
        self._end = threading.Event()

    def stop(self) -> None:
        """Ends the thread."""
        self._end.set()
        self.join(timeout=10)
        self._client.close()

    def run(self) -> None:
        errors = 0
        while not self._end.is_set():
            if DRAINING.is_set():  # a wake-up that it took would wake no other process
                self._end.wait(DRAINED_WAIT)
                continue
            try:
                if self._wait():
                    # Before the look at the database: whatever becomes due after that may wake the queue again.
                    take_wake_flag(self._queue)
                    self._woken()
                errors = 0
            except redis.RedisError as error:
                SELDOM.warning("wake.not_heard", queue=self._queue, error=error_code(error))
                self._end.wait(min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** min(errors, 10)))
                errors += 1

    def _wait(self) -> bool:
        """Waits for wake-ups, for a second at most, and takes all that are there."""
        if self._blocking:
            found = self._client.blpop([self._list], WAIT_SECONDS) is not None
        else:
            found = self._client.lpop(self._list) is not None
            if not found:
                self._end.wait(WAIT_SECONDS)
        if found:
            self._client.delete(self._list, f"{self._list}.msgs")
        return found
