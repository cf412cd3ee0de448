"""The dramatiq broker on Redis, which delivers messages and wakes queues.

A wake-up is a message without data: it says only "something is due on this queue". If it is lost, the clock sends
another a moment later; an extra one finds nothing to do.
"""

import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.message import Message

from workers.engine.consumer import SteadyConsumer
from workers.engine.door import DoorConsumer
from workers.logs import SeldomLog
from workers.redis_client import connect, error_code
from workers.requests.base import REQUESTS_QUEUE
from workers.requests.queues import Queue, wake_actor
from workers.settings import get_settings

WAKE_FLAG_MS: Final = 2_000
"""Milliseconds in which a queue is woken at most once (a debounce): the time a claimer works after a wake-up."""

POLL_MS: Final = 50
"""Longest pause between two polls of an idle queue if its consumers cannot wait inside Redis; dramatiq has 1,000 ms."""

IDLE_POLL_MS: Final = 1_000

BEAT_SECONDS: Final = 5.0
"""Seconds between two heartbeats in Redis at least; dramatiq takes a process for dead after a minute without one.

After an outage of Redis every heartbeat is old, so one that failed is sent again at the next call. Another process
looks for dead ones ``MAINTENANCE_SECONDS`` after its last error.
"""

SELDOM: Final = SeldomLog()


def worker_client(url: str) -> redis.Redis:
    """Makes the client of consuming processes. It tries once: the consumer itself tries again until Redis is well."""
    return connect(url, retries=0, seconds=10)


def producer_client(url: str) -> redis.Redis:
    """Makes the client of sending processes, which gives up after about a second, because the sender waits for it."""
    return connect(url, retries=3, seconds=2)


class WakeBroker(RedisBroker):
    """Dramatiq's Redis broker with our consumer; it has no delay queues, because `due_at` delays work."""

    def __init__(self, client: redis.Redis, middleware: Iterable[dramatiq.Middleware]) -> None:
        namespace = get_settings().redis_namespace
        super().__init__(client=client, namespace=namespace, middleware=list(middleware))  # type: ignore[no-untyped-call]
        self._beaten_at = float("-inf")  # by the monotonic clock

    @property
    def consumer_class(self) -> type[SteadyConsumer]:
        """The class of consumers."""
        return SteadyConsumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = POLL_MS) -> SteadyConsumer:
        """Makes a consumer; the door of portals has another kind. Where it must poll, it does so every `POLL_MS`."""
        longest = IDLE_POLL_MS if queue_name == Queue.MAINTENANCE else POLL_MS
        kind = DoorConsumer if queue_name == REQUESTS_QUEUE else SteadyConsumer
        return kind(self, queue_name, prefetch, min(timeout, longest))

    def declare_queue(self, queue_name: str) -> None:
        """Declares a queue without the delay queue dramatiq would poll beside it."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def _should_do_maintenance(self, command: str) -> int:
        """Runs maintenance exactly when a consumer asks for it; dramatiq runs it at random, which can take an hour."""
        return int(command == "qsize")

    def beat(self) -> None:
        """Sends Redis the heartbeat of this broker, also while its consumers are full or wait; at most every 5 seconds.

        When Redis refuses it nothing fails: the heartbeat in PostgreSQL goes on.
        """
        if time.monotonic() - self._beaten_at < BEAT_SECONDS:
            return
        try:
            _beating_client().zadd(f"{self.namespace}:__heartbeats__", {self.broker_id: int(time.time() * 1000)})
            self._beaten_at = time.monotonic()
        except redis.RedisError as error:
            SELDOM.warning("beat.failed", error=error_code(error))


def make_broker(client: redis.Redis, middleware: Iterable[dramatiq.Middleware] = ()) -> WakeBroker:
    """Makes a broker with only the given middleware, because the ledger does retries, delays and time limits."""
    return WakeBroker(client, middleware)


@lru_cache(maxsize=1)
def _wake_broker() -> WakeBroker:
    return make_broker(producer_client(get_settings().redis_url))


@lru_cache(maxsize=1)
def _beating_client() -> redis.Redis:
    """Returns the client of heartbeats, which gives up after a second: the heartbeat in PostgreSQL waits for it."""
    return connect(get_settings().redis_url, retries=0, seconds=1)


def producing_client() -> redis.Redis:
    """Returns the client of this process for what it sends, which gives up after about a second."""
    return _wake_broker().client


def _wake_key(queue: str) -> str:
    return f"{get_settings().redis_namespace}:wake:{queue}"


def wake(queue: str, *, again: bool = False) -> None:
    """Wakes a queue, unless it was woken a moment ago. The caller calls it after the commit; it never raises.

    When Redis is away or refuses it nothing fails: the work is in the ledger, and the clock wakes the queue again.

    Parameters:
      again: wakes it in any case, because the process that took the last wake-up may be stopping.
    """
    broker = _wake_broker()
    try:
        if broker.client.set(_wake_key(queue), 1, nx=not again, px=WAKE_FLAG_MS):
            broker.enqueue(Message(queue_name=queue, actor_name=wake_actor(queue), args=(), kwargs={}, options={}))
    except redis.RedisError as error:
        SELDOM.warning("wake.failed", queue=queue, error=error_code(error))


def take_wake_flag(queue: str) -> None:
    """Allows the next wake-up of the queue. A claimer calls it before a claim, so that it misses no later work."""
    try:
        _wake_broker().client.delete(_wake_key(queue))
    except redis.RedisError as error:
        SELDOM.warning("wake.flag_not_taken", queue=queue, error=error_code(error))


def forget_wake_broker() -> None:
    """Drops the connection that wake-ups are sent over (after a fork, between tests)."""
    _wake_broker.cache_clear()
    _beating_client.cache_clear()
