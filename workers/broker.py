"""Dramatiq on Redis: how messages arrive, and how bells are rung.

A bell carries nothing: it says "something is due on this queue". Losing one costs a moment (the clock rings again),
ringing one too many costs nothing.
"""

import base64
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import dramatiq
import redis
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.common import compute_backoff
from dramatiq.errors import ConnectionClosed, DecodeError
from dramatiq.message import Message
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError, ReadOnlyError
from redis.retry import Retry

from workers.logs import get_logger
from workers.queues import Queue, bell_name
from workers.requests import REQUESTS_QUEUE
from workers.settings import get_settings

log = get_logger()

SET_ASIDE: Final = "set_aside"
"""The actor that records a message nobody can read. Only the consumer below may address it."""

BELL_MS: Final = 2_000
"""How long one bell stands for all: the time a claimer goes on once it has answered."""

POLL_MS: Final = 50
"""Longest pause between two looks at an idle queue. Dramatiq's own 1,000 ms would be the latency of a lone request."""

IDLE_POLL_MS: Final = 1_000

MAINTENANCE_SECONDS: Final = 10.0
"""How often a consumer looks for what a dead process fetched from its queue and left."""

# Dramatiq's own fetch answers payloads without the keys Redis holds them under, and deletes one message a call.
TAKE: Final = """
local queue, me = KEYS[1] .. ':' .. ARGV[2], ARGV[3]
local mine = KEYS[1] .. ':__acks__.' .. me .. '.' .. ARGV[2]
redis.call('zadd', KEYS[1] .. ':__heartbeats__', ARGV[1], me)
for i = 5, #ARGV do
  if redis.call('srem', mine, ARGV[i]) > 0 then
    redis.call('hdel', queue .. '.msgs', ARGV[i])
  end
end
local taken = {}
for _ = 1, tonumber(ARGV[4]) do
  local key = redis.call('lpop', queue)
  if not key then
    break
  end
  local payload = redis.call('hget', queue .. '.msgs', key)
  if payload then
    redis.call('sadd', mine, key)
    table.insert(taken, key)
    table.insert(taken, payload)
  end
end
return taken
"""

FAULTS: Final[list[type[Exception]]] = [redis.ConnectionError, redis.TimeoutError, ReadOnlyError, BusyLoadingError]


def worker_client(url: str) -> redis.Redis:
    """For processes that consume: retries for ever, so that an outage pauses them and loses no message.

    With fewer retries dramatiq 2.2.1 strands prefetched messages and can lose a consumer thread after an outage.
    """
    retry = Retry(ExponentialWithJitterBackoff(base=0.1, cap=1), -1)
    return _client(url, retry, socket_timeout=10)


def producer_client(url: str) -> redis.Redis:
    """For whoever rings or sends: gives up after about a second, because somebody waits and the ledger remembers."""
    return _client(url, Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 3), socket_timeout=2)


def _client(url: str, retry: Retry, *, socket_timeout: float) -> redis.Redis:
    options: dict[str, Any] = {"socket_timeout": socket_timeout, "retry": retry, "retry_on_error": FAULTS}
    if not url.startswith("unix:"):
        options |= {"socket_connect_timeout": 3, "health_check_interval": 15, "socket_keepalive": True}
    return redis.Redis.from_url(url, **options)


class SteadyConsumer(_RedisConsumer):
    """A consumer that survives what cannot be read, and asks Redis once for many messages.

    In dramatiq 2.2.1 one undecodable payload strands the good messages fetched beside it, a message for an unknown
    actor goes to a dead-letter set for seven days, and one that names another queue kills the thread that meets it.
    Here each is handed, bytes and all, to the actor that records it in the ledger as refused.
    """

    def __init__(self, broker: "DoorbellBroker", queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self.message_cache: list[tuple[bytes, bytes]] = []  # what was fetched and not looked at: key and payload
        self._done: list[bytes] = []  # keys of messages that are done and that Redis still holds
        self._freed = threading.Event()  # set when half the room is free again
        self._closed = False
        self._taking = threading.Lock()  # a closed consumer takes in whichever thread comes late
        self._maintained_at = time.monotonic()

    def __next__(self) -> MessageProxy | None:
        if not self.message_cache and self._is_full():
            self._freed.wait(self.timeout / 1000)
            self._freed.clear()
            return None
        try:
            if not self.message_cache and not self._fetch():
                self.misses, pause_ms = compute_backoff(self.misses, max_backoff=self.timeout)
                time.sleep(pause_ms / 1000)
                return None
            self.misses = 0
            return self._read(*self.message_cache.pop(0)) if self.message_cache else None
        except redis.ConnectionError as error:
            raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def ack(self, message: MessageProxy) -> None:
        """Has the message deleted with the next fetch, or puts it back if its actor asked for that (`given_back`).

        A process that dies in between has it done again: requests have a key, and a bell too many does nothing.
        """
        if getattr(message, "given_back", False):
            self.requeue([message])  # type: ignore[no-untyped-call]
        else:
            self._done.append(message.options["redis_message_id"])
        self.queued_message_ids.discard(message.message_id)
        if not self._is_full():
            self._freed.set()
        if self._closed:  # nothing will be fetched any more
            self._take(0)

    def close(self) -> None:
        """Gives back what was fetched and not looked at; dramatiq leaves it until this process is taken for dead."""
        self._closed = True
        unread, self.message_cache = self.message_cache, []
        self._take(0)
        if unread:
            self.broker.do_requeue(self.queue_name, *(key for key, _ in unread))

    def _is_full(self) -> bool:
        """Whether less than half the room is free: a call for each message costs more than the message."""
        return bool(self._room() * 2 < self.prefetch)

    def _room(self) -> int:
        return int(self.prefetch - self.outstanding_message_count)

    def _fetch(self) -> bool:
        if time.monotonic() - self._maintained_at >= MAINTENANCE_SECONDS:
            self._maintained_at = time.monotonic()
            self.broker.do_qsize(self.queue_name)
        self.message_cache = self._take(self._room())
        return bool(self.message_cache)

    def _take(self, count: int) -> list[tuple[bytes, bytes]]:
        """Deletes what is done and fetches up to `count` messages, in one call; returns their keys and payloads."""
        with self._taking:
            done = self._done[:]
            try:
                answer = self.broker.take(self.queue_name, count, done)
            except redis.ConnectionError as error:
                raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]
            del self._done[: len(done)]  # only now: after a fault they are deleted with the next call
        return list(zip(answer[::2], answer[1::2], strict=True))

    def _read(self, key: bytes, data: bytes) -> MessageProxy:
        try:
            message = Message.decode(data)
        except DecodeError:
            message = None
        if message is None or not self._acceptable(message):
            message = self._aside(data)
        self.queued_message_ids.add(message.message_id)
        # Options can steer dramatiq (`throws`, `eta`): none but the key is taken from whoever sent the message.
        proxy = MessageProxy(replace(message, options={"redis_message_id": key}))
        # Kept until it is acknowledged: a refusal records what came, to the byte.
        proxy.raw = data  # type: ignore[attr-defined]
        return proxy

    def _acceptable(self, message: Message[Any]) -> bool:
        texts = (message.queue_name, message.actor_name, message.message_id)
        if not all(isinstance(value, str) for value in texts) or not isinstance(message.kwargs, dict) or message.args:
            return False
        actor = self.broker.actors.get(message.actor_name)
        return (
            actor is not None
            and message.actor_name != SET_ASIDE
            and actor.queue_name == self.queue_name == message.queue_name
            and (self.queue_name == REQUESTS_QUEUE or not message.kwargs)  # a bell carries nothing
            and not (isinstance(message.options, dict) and "eta" in message.options)
        )

    def _aside(self, data: bytes) -> Message[Any]:
        return Message(
            queue_name=self.queue_name,
            actor_name=SET_ASIDE,
            args=(),
            kwargs={"queue": self.queue_name, "data": base64.b64encode(data).decode()},
            options={},
        )


class DoorbellBroker(RedisBroker):
    """Dramatiq's Redis broker with a steady consumer, short polls, and no delay queues: `due_at` delays."""

    def __init__(self, client: redis.Redis, middleware: Iterable[dramatiq.Middleware]) -> None:
        namespace = get_settings().redis_namespace
        super().__init__(client=client, namespace=namespace, middleware=list(middleware))  # type: ignore[no-untyped-call]
        self._take = client.register_script(TAKE)

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

    def take(self, queue_name: str, count: int, done: Sequence[bytes]) -> list[bytes]:
        """Deletes messages that are done and fetches up to `count`: key, payload, key, payload…"""
        now = int(time.time() * 1000)
        taken: list[bytes] = self._take(keys=[self.namespace], args=[now, queue_name, self.broker_id, count, *done])
        return taken

    def _should_do_maintenance(self, command: str) -> int:
        """Consumers ask for it in their own time; dramatiq leaves it to chance, which can take an hour."""
        return int(command == "qsize")

    def beat(self) -> None:
        """Tells Redis this broker is alive, even while its consumers are full and do not poll."""
        # Not over the client that retries for ever: while Redis is away this process is to be seen alive all the same.
        _bell_ringer().client.zadd(f"{self.namespace}:__heartbeats__", {self.broker_id: int(time.time() * 1000)})


def make_broker(client: redis.Redis, middleware: Iterable[dramatiq.Middleware] = ()) -> DoorbellBroker:
    """A broker on this client, with only the middleware given: retries, delays and time limits live in the ledger."""
    return DoorbellBroker(client, middleware)


@lru_cache(maxsize=1)
def _bell_ringer() -> DoorbellBroker:
    return make_broker(producer_client(get_settings().redis_url))


def _bell_key(queue: str) -> str:
    return f"{get_settings().redis_namespace}:bell:{queue}"


def ring(queue: str) -> None:
    """Rings the bell of a queue, unless one already stands. Call it after the commit; it never raises.

    Redis away is no reason to fail: the work is in the ledger and the clock rings again.
    """
    ringer = _bell_ringer()
    try:
        if ringer.client.set(_bell_key(queue), 1, nx=True, px=BELL_MS):
            ringer.enqueue(Message(queue_name=queue, actor_name=bell_name(queue), args=(), kwargs={}, options={}))
    except redis.RedisError as error:
        log.warning("bell.not_rung", queue=queue, error=type(error).__name__)


def silence(queue: str) -> None:
    """Takes the bell down, before a claim: whatever becomes due after it may ring again."""
    try:
        _bell_ringer().client.delete(_bell_key(queue))
    except redis.RedisError as error:
        log.warning("bell.not_silenced", queue=queue, error=type(error).__name__)


def forget_ringer() -> None:
    """Drops the connection bells are rung with (after a fork, between tests)."""
    _bell_ringer.cache_clear()
