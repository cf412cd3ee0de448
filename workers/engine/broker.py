"""The dramatiq broker on Redis, which delivers messages and wakes queues.

A wake-up is a message without data: it says only "something is due on this queue". If it is lost, the clock sends
another a moment later; an extra one finds nothing to do.
"""

import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.message import Message
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError, ReadOnlyError
from redis.retry import Retry

from workers.engine.consumer import SteadyConsumer
from workers.logs import get_logger
from workers.requests.queues import Queue, wake_actor
from workers.settings import get_settings

log = get_logger()

WAKE_FLAG_MS: Final = 2_000
"""Milliseconds in which a queue is woken at most once (a debounce): the time a claimer works after a wake-up."""

POLL_MS: Final = 50
"""Longest pause between two polls of an idle queue; with dramatiq's own 1,000 ms a lone request would wait."""

IDLE_POLL_MS: Final = 1_000

REDIS_FAULTS: Final[list[type[Exception]]] = [
    redis.ConnectionError,
    redis.TimeoutError,
    ReadOnlyError,
    BusyLoadingError,
]


def worker_client(url: str) -> redis.Redis:
    """Makes the client of consuming processes, which retries for ever: an outage pauses them and loses no message.

    With fewer retries, dramatiq 2.2.1 loses track of prefetched messages and may lose a consumer thread in an outage.
    """
    retry = Retry(ExponentialWithJitterBackoff(base=0.1, cap=1), -1)
    return _client(url, retry, socket_timeout=10)


def producer_client(url: str) -> redis.Redis:
    """Makes the client of sending processes, which gives up after about a second, because the sender waits for it."""
    return _client(url, Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 3), socket_timeout=2)


def _client(url: str, retry: Retry, *, socket_timeout: float) -> redis.Redis:
    options: dict[str, Any] = {"socket_timeout": socket_timeout, "retry": retry, "retry_on_error": REDIS_FAULTS}
    if not url.startswith("unix:"):
        options |= {"socket_connect_timeout": 3, "health_check_interval": 15, "socket_keepalive": True}
    return redis.Redis.from_url(url, **options)


class WakeBroker(RedisBroker):
    """Dramatiq's Redis broker with our consumer and short polls; no delay queues, because `due_at` delays work."""

    def __init__(self, client: redis.Redis, middleware: Iterable[dramatiq.Middleware]) -> None:
        namespace = get_settings().redis_namespace
        super().__init__(client=client, namespace=namespace, middleware=list(middleware))  # type: ignore[no-untyped-call]

    @property
    def consumer_class(self) -> type[SteadyConsumer]:
        """The class of consumers."""
        return SteadyConsumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = POLL_MS) -> SteadyConsumer:
        """Makes a consumer that polls its queue at least every `POLL_MS`, or less often for maintenance."""
        longest = IDLE_POLL_MS if queue_name == Queue.MAINTENANCE else POLL_MS
        return SteadyConsumer(self, queue_name, prefetch, min(timeout, longest))

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
        """Sends Redis the heartbeat of this broker, also while its consumers are full and do not poll."""
        # It uses the client that gives up: the heartbeat in PostgreSQL must go on while Redis is away.
        _wake_broker().client.zadd(f"{self.namespace}:__heartbeats__", {self.broker_id: int(time.time() * 1000)})


def make_broker(client: redis.Redis, middleware: Iterable[dramatiq.Middleware] = ()) -> WakeBroker:
    """Makes a broker with only the given middleware, because the ledger does retries, delays and time limits."""
    return WakeBroker(client, middleware)


@lru_cache(maxsize=1)
def _wake_broker() -> WakeBroker:
    return make_broker(producer_client(get_settings().redis_url))


def _wake_key(queue: str) -> str:
    return f"{get_settings().redis_namespace}:wake:{queue}"


def wake(queue: str, *, again: bool = False) -> None:
    """Wakes a queue, unless it was woken a moment ago. The caller calls it after the commit; it never raises.

    When Redis is away nothing fails: the work is in the ledger, and the clock wakes the queue again.

    Parameters:
      again: wakes it in any case, because the process that took the last wake-up may be stopping.
    """
    broker = _wake_broker()
    try:
        if broker.client.set(_wake_key(queue), 1, nx=not again, px=WAKE_FLAG_MS):
            broker.enqueue(Message(queue_name=queue, actor_name=wake_actor(queue), args=(), kwargs={}, options={}))
    except redis.RedisError as error:
        log.warning("wake.failed", queue=queue, error=type(error).__name__)


def take_wake_flag(queue: str) -> None:
    """Allows the next wake-up of the queue. A claimer calls it before a claim, so that it misses no later work."""
    try:
        _wake_broker().client.delete(_wake_key(queue))
    except redis.RedisError as error:
        log.warning("wake.flag_not_taken", queue=queue, error=type(error).__name__)


def forget_wake_broker() -> None:
    """Drops the connection that wake-ups are sent over (after a fork, between tests)."""
    _wake_broker.cache_clear()
