"""The limit of the requests that a portal sends over HTTP, shared by all web processes.

A request is judged in memory, by what this process counts and what it knew of the others when it last settled. A thread
settles with Redis each 100 ms while requests come: it adds what this process allowed to the portal's count and learns
the count of all. So a request waits for nothing, and the count of all is right within 100 ms and a round trip.

Overshoot: between two settlements each process may allow what one of them may. Everything allowed is counted, so what
was too much is missing afterwards: in the long run a portal has its limit, and at one moment no more than that, times
the number of processes. A portal that keeps sending at its limit of 6,000 is over it by at most the ten requests that
come back in 100 ms, for each process but one.

While Redis is away each process counts alone: no request is refused that the limit allows. What was allowed meanwhile
is not added later.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import redis

from models.rate_limit import PERIOD_SECONDS, UNLIMITED, RequestAllowance, judge_request, seconds_for
from workers.logs import SeldomLog
from workers.portals.keys import KnownKey
from workers.redis_client import connect, error_code
from workers.settings import get_settings

SETTLE_SECONDS: Final = 0.1
REST_SECONDS: Final = 1.0
"""The pause after a settlement that failed."""

REDIS_SECONDS: Final = 0.5

# Adds to the backlogs of portals, in microseconds, and returns what each is then. A backlog is kept as the moment when
# it ends, by the clock of Redis, and lives no longer. One of over two minutes was kept by a clock that was ahead.
SETTLE: Final = f"""#!lua flags=allow-cross-slot-keys
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local backlogs = {{}}
for i, key in ipairs(KEYS) do
  local kept = tonumber(redis.call('GET', key) or 0)
  local ends = math.min(math.max(kept, now), now + {2 * PERIOD_SECONDS:.0f} * 1000000) + ARGV[i]
  if ends > now then
    redis.call('SET', key, string.format('%.0f', ends), 'PX', math.ceil((ends - now) / 1000))
  end
  backlogs[i] = math.floor(ends - now)
end
return backlogs
"""


SELDOM: Final = SeldomLog()


class _Count:
    """The count of one portal.

    Parameters:
      ends: when its backlog ends, by the clock of this process.
      unsettled: the seconds that this process added since it last settled.
    """

    __slots__ = ("ends", "unsettled")

    def __init__(self) -> None:
        self.ends = 0.0
        self.unsettled = 0.0


class RateLimits:
    """Counts the requests of portals in one process. Any thread may call it.

    Parameters:
      settle: adds seconds to the backlogs of portals for all processes, and returns the backlogs; by default in Redis.
      clock: seconds that only grow.
    """

    def __init__(
        self,
        settle: Callable[[Mapping[UUID, float]], Mapping[UUID, float]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settle_all = settle or _RedisCounts().settle
        self._clock = clock
        self._counts: dict[UUID, _Count] = {}
        self._asked: set[UUID] = set()
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def check(self, key: KnownKey) -> RequestAllowance:
        """Counts one request of the portal of this key, and tells whether it may be answered. It waits for nothing."""
        limit = key.requests_per_minute
        if limit is None:
            return UNLIMITED
        now = self._clock()
        with self._lock:
            count = self._counts.get(key.portal_id)
            if count is None:
                count = self._counts[key.portal_id] = _Count()
            backlog = count.ends - now if count.ends > now else 0.0
            allowance = judge_request(backlog, limit)
            if allowance.allowed:
                count.ends = now + backlog + seconds_for(limit)
                count.unsettled += seconds_for(limit)
            self._asked.add(key.portal_id)
        if not self._wanted.is_set():
            self._want()
        return allowance

    def settle(self) -> None:
        """Adds what was allowed since the last time to the counts of all processes, and takes over these.

        Raises: redis.RedisError; then what this process knows of its own requests stays, and is not added later.
        """
        with self._lock:
            added = {portal_id: self._counts[portal_id].unsettled for portal_id in self._asked}
            self._asked.clear()
            for portal_id in added:
                self._counts[portal_id].unsettled = 0.0
        backlogs = self._settle_all(added) if added else {}
        now = self._clock()
        with self._lock:
            for portal_id, backlog in backlogs.items():
                count = self._counts.get(portal_id)
                if count is not None:
                    count.ends = now + backlog + count.unsettled

    def close(self) -> None:
        """Settles a last time, ends the thread and forgets all counts."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stopping.set()
            self._wanted.set()
            thread.join()
            with suppress(redis.RedisError):
                self.settle()
        with self._lock:
            self._counts.clear()
            self._asked.clear()

    def _want(self) -> None:
        """Has the thread settle; starts it with the first request, because threads do not survive a fork."""
        self._wanted.set()
        if self._thread is None or not self._thread.is_alive():
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._stopping.clear()
                    self._thread = threading.Thread(target=self._run, name="rate-limits", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        """Settles while requests come; without one it sleeps."""
        while not self._stopping.is_set():
            self._wanted.wait()
            self._wanted.clear()
            pause = SETTLE_SECONDS
            try:
                self.settle()
            except redis.RedisError as error:
                SELDOM.warning("limits.alone", error=error_code(error))
                pause = REST_SECONDS
            self._stopping.wait(pause)


class _RedisCounts:
    """The counts of all processes, in the Redis of ``REDIS_URL``."""

    def __init__(self) -> None:
        self._url = ""
        self._script: Callable[..., Any] | None = None

    def settle(self, added: Mapping[UUID, float]) -> dict[UUID, float]:
        """Adds seconds to backlogs; returns the backlogs in seconds.

        Raises: redis.RedisError.
        """
        settings = get_settings()
        keys = [f"{settings.redis_namespace}:limit:{portal_id}" for portal_id in added]
        micros = [round(seconds * 1_000_000) for seconds in added.values()]
        if self._script is None or self._url != settings.redis_url:
            self._url = settings.redis_url
            self._script = connect(self._url, retries=0, seconds=REDIS_SECONDS).register_script(SETTLE)
        found = self._script(keys=keys, args=micros)
        return {portal_id: backlog / 1_000_000 for portal_id, backlog in zip(added, found, strict=True)}


LIMITS: Final = RateLimits()
"""The limits that this process applies."""
