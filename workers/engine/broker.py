"""Dramatiq on Redis: how messages arrive, and how queues are woken.

A wake-up is a message that carries nothing but "something is due on this queue". If it is lost, the clock sends another
a moment later; one too many finds nothing to do.
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
"""Milliseconds in which a queue is woken once at most (a debounce): as long as a claimer goes on once it is awake."""

POLL_MS: Final = 50
"""Longest pause between two looks at an idle queue; with dramatiq's own 1,000 ms a lone request would wait."""

IDLE_POLL_MS: Final = 1_000

REDIS_FAULTS: Final[list[type[Exception]]] = [
    redis.ConnectionError,
    redis.TimeoutError,
    ReadOnlyError,
    BusyLoadingError,
]


def worker_client(url: str) -> redis.Redis:
    """The client of processes that consume: it retries for ever, so that an outage pauses them and loses no message.

    With fewer retries dramatiq 2.2.1 strands prefetched messages and can lose a consumer thread after an outage.
    """
    retry = Retry(ExponentialWithJitterBackoff(base=0.1, cap=1), -1)
    return _client(url, retry, socket_timeout=10)


def producer_client(url: str) -> redis.Redis:
    """The client of those that send: it gives up after about a second: the sender waits, and the ledger remembers."""
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
        """What reads a queue."""
        return SteadyConsumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = POLL_MS) -> SteadyConsumer:
        """A consumer that looks at its queue at least every `POLL_MS`; nobody waits for maintenance."""
        longest = IDLE_POLL_MS if queue_name == Queue.MAINTENANCE else POLL_MS
        return SteadyConsumer(self, queue_name, prefetch, min(timeout, longest))

    def declare_queue(self, queue_name: str) -> None:
        """Declares a queue without the delay queue dramatiq would poll beside it."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def _should_do_maintenance(self, command: str) -> int:
        """Consumers ask for it in their own time; dramatiq leaves it to chance, which can take an hour."""
        return int(command == "qsize")

    def beat(self) -> None:
        """Tells Redis that this broker is alive, also while its consumers are full and do not poll."""
        # Not over the client that retries for ever: this process must be seen alive in PostgreSQL while Redis is away.
        _wake_broker().client.zadd(f"{self.namespace}:__heartbeats__", {self.broker_id: int(time.time() * 1000)})


def make_broker(client: redis.Redis, middleware: Iterable[dramatiq.Middleware] = ()) -> WakeBroker:
    """A broker on this client, with only the middleware given: retries, delays and time limits live in the ledger."""
    return WakeBroker(client, middleware)


@lru_cache(maxsize=1)
def _wake_broker() -> WakeBroker:
    return make_broker(producer_client(get_settings().redis_url))


def _wake_key(queue: str) -> str:
    return f"{get_settings().redis_namespace}:wake:{queue}"


def wake(queue: str, *, again: bool = False) -> None:
    """Wakes a queue, unless it was woken a moment ago. To be called after the commit; it never raises.

    When Redis is away nothing fails: the work is in the ledger, and the clock wakes the queue again.

    Parameters:
      again: wake it even so, because the process that took the last wake-up may be leaving.
    """
    broker = _wake_broker()
    try:
        if broker.client.set(_wake_key(queue), 1, nx=not again, px=WAKE_FLAG_MS):
            broker.enqueue(Message(queue_name=queue, actor_name=wake_actor(queue), args=(), kwargs={}, options={}))
    except redis.RedisError as error:
        log.warning("wake.failed", queue=queue, error=type(error).__name__)


def take_wake_flag(queue: str) -> None:
    """Lets the queue be woken again. Called before a claim, so that work which becomes due after it is not missed."""
    try:
        _wake_broker().client.delete(_wake_key(queue))
    except redis.RedisError as error:
        log.warning("wake.flag_not_taken", queue=queue, error=type(error).__name__)


def forget_wake_broker() -> None:
    """Drops the connection that wake-ups are sent over (after a fork, between tests)."""
    _wake_broker.cache_clear()
