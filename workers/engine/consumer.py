"""The consumer fetches many messages from Redis at once, and loses none because of a message that cannot be read.

It reads the queues of wake-ups, which have no order; ``workers/engine/door.py`` reads what portals send.
"""

import base64
import math
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import redis
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.common import compute_backoff
from dramatiq.errors import DecodeError
from dramatiq.message import Message

from workers.engine.oversized import MessageSize, is_oversized, measure_message
from workers.engine.stopping import DRAINED_WAIT, DRAINING, STOPPING
from workers.logs import SeldomLog, get_logger
from workers.redis_client import error_code
from workers.requests.base import MAX_MESSAGE_BYTES
from workers.settings import get_settings

log = get_logger()

SET_ASIDE: Final = "set_aside"
"""The actor that records a message that cannot be read. Only the consumer below may address it."""

MAINTENANCE_SECONDS: Final = 10.0
"""Seconds between two searches for messages that a dead process had fetched from this queue."""

WAIT_SECONDS: Final = 1.0
"""The longest wait for a message inside Redis. It bounds how late a stop is seen; sockets wait for longer."""

SHORT_WAIT: Final = 0.05
"""The same while messages are in work: once one is done, Redis is to be told soon."""

POLLING_SECONDS: Final = 10.0
"""Seconds for which a queue is asked again and again, after Redis refused to let a consumer wait."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds of the pause before Redis is asked again after an error; the pause doubles with each error in a row."""

SELDOM: Final = SeldomLog()

# It may run while Redis is over its memory limit (`allow-oom`): it takes messages out, and only that frees memory. On a
# server of one shard it may use all its keys (`allow-cross-slot-keys`).
# Dramatiq's own fetch returns payloads without their keys in Redis, and deletes only one message per call. Of a message
# that is too large it returns one byte more than is allowed: see ``workers/engine/oversized.py``.
TAKE: Final = (
    "#!lua flags=allow-oom,allow-cross-slot-keys\n"
    f"local most = {MAX_MESSAGE_BYTES + 1}\n"
    """
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
    if string.len(payload) > most then
      payload = string.sub(payload, 1, most)
    end
    redis.call('sadd', mine, key)
    table.insert(taken, key)
    table.insert(taken, payload)
  end
end
return taken
"""
)


class ConsumerTrouble(NamedTuple):
    """The error for which a consumer fetches nothing.

    Parameters:
      code: its code, as ``error_code`` names it.
      since: when the first error in a row came, by the monotonic clock.
    """

    code: str
    since: float


class SteadyConsumer(_RedisConsumer):
    """A consumer that survives messages it cannot read and errors of Redis, and fetches many with one call.

    In dramatiq 2.2.1 one unreadable payload blocks the good messages fetched with it, a message for an unknown actor
    goes to a dead-letter set for seven days, and one that names another queue kills the thread that reads it. This
    consumer gives each of them, with its bytes, to the actor that records it in the ledger as refused.

    While its queue is empty it waits inside Redis, so that an idle system costs nothing and a lone request is not kept.

    Any error of Redis means "ask again after a pause": none of them leaves this class, because dramatiq would lose
    what it had fetched, or end the thread that fetches.
    """

    def __init__(self, broker: RedisBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self.message_cache: list[tuple[bytes, bytes]] = []  # key and payload of messages fetched and not read yet
        self._done: list[bytes] = []  # keys of messages that are done and that Redis still holds
        self._returned: list[bytes] = []  # keys of messages to put back on their queue, which Redis could not do yet
        self._freed = threading.Event()  # set when half of the prefetch is free again
        self._closed = False
        self._taking = threading.Lock()  # any thread may give a message back
        self._maintained_at = time.monotonic()
        self._polls_until = 0.0 if get_settings().redis_blocking else math.inf
        self._waited = False  # in vain, until just now: the queue is empty
        self._errors = 0  # errors of Redis since the last fetch that succeeded
        self.trouble: ConsumerTrouble | None = None
        self.turned_at = time.monotonic()
        """When the thread of this consumer last asked for a message, by the monotonic clock."""
        self._script = broker.client.register_script(TAKE)

    def __next__(self) -> MessageProxy | None:
        self.turned_at = time.monotonic()
        try:
            return self._next()
        except redis.RedisError as error:
            self._wait_out(error)
            return None

    def _next(self) -> MessageProxy | None:
        if DRAINING.is_set():
            self._rest()
            return None
        if not self.message_cache and self._is_full():
            self._freed.wait(self.timeout / 1000)
            self._freed.clear()
            return None
        if not self.message_cache and (self._need_not_ask() or not self._fetch()):
            self._wait_for_message()
            return None
        self.misses = 0
        return self._read(*self.message_cache.pop(0)) if self.message_cache else None

    @property
    def holds(self) -> bool:
        """Whether a message was fetched and not acknowledged yet."""
        return bool(self.message_cache or self.queued_message_ids)

    def _rest(self) -> None:
        """Fetches nothing, and gives back what was fetched and not read: other processes take it."""
        unread, self.message_cache = self.message_cache, []
        self._returned += [key for key, _ in unread]
        if self._done or self._returned or self.trouble:
            self._take(0)
            self._put_back()
            self.trouble, self._errors = None, 0
        STOPPING.wait(DRAINED_WAIT)

    def _need_not_ask(self) -> bool:
        """Tells whether a fetch would find nothing and has nothing to tell, because no message came while it waited."""
        owes = self._done or self._returned or self.trouble
        return self._waited and not owes and time.monotonic() - self._maintained_at < MAINTENANCE_SECONDS

    def _wait_for_message(self) -> None:
        """Waits inside Redis until the queue holds a message, for a second at most; it changes and takes nothing.

        The head of the list is moved to its head: the one blocking command that waits for a list and leaves it as it
        is. Where it is refused (a proxy, an ACL, a Redis that is full), this consumer polls for a while. Whether Redis
        is ill is told by the fetch that follows, not by this.
        """
        self._waited = False
        if time.monotonic() < self._polls_until:
            self.misses, pause_ms = compute_backoff(self.misses, max_backoff=self.timeout)
            time.sleep(pause_ms / 1000)
            return
        soon = STOPPING.is_set() or self.queued_message_ids or self._done
        queue = f"{self.broker.namespace}:{self.queue_name}"
        try:
            wait = SHORT_WAIT if soon else WAIT_SECONDS
            self._waited = self.broker.client.blmove(queue, queue, wait, "LEFT", "LEFT") is None
        except redis.RedisError as error:
            self._polls_until = time.monotonic() + POLLING_SECONDS
            SELDOM.warning("redis.no_waiting", queue=self.queue_name, error=error_code(error))

    def _wait_out(self, error: redis.RedisError) -> None:
        """Waits before Redis is asked again, longer after each error in a row."""
        code = error_code(error)
        SELDOM.warning("redis.refuses", queue=self.queue_name, error=code)
        self.trouble = ConsumerTrouble(code, self.trouble.since if self.trouble else time.monotonic())
        self._maintained_at = time.monotonic()  # other processes must send a heartbeat before one takes them for dead
        # The server of an open connection may have lost its role to another one.
        self.broker.client.connection_pool.disconnect(inuse_connections=False)
        time.sleep(min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** min(self._errors, 10)))
        self._errors += 1

    def ack(self, message: MessageProxy) -> None:
        """Marks the message to be deleted with the next fetch, or puts it back if its actor asked for that.

        If the process dies before that fetch, the message is delivered again, which does no harm: an extra wake-up does
        nothing.
        """
        key = message.options["redis_message_id"]
        raised = message._exception is not None  # noqa: SLF001 - dramatiq has no other name for it
        if getattr(message, "given_back", False):
            self.requeue([message])
        elif not raised or message.actor_name != SET_ASIDE:
            self._done.append(key)
        self.queued_message_ids.discard(key)
        if not self._is_full():
            self._freed.set()
        if self._closed:  # nothing will be fetched any more
            self._say_goodbye()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Puts messages back on the queue for any process; while Redis refuses that, they are kept and put back later.

        The messages that this process could not put back before it ended are found by ``_maintain`` of another one.
        """
        self._returned += [message.options["redis_message_id"] for message in messages]
        if self._returned:
            self._say_goodbye()

    def close(self) -> None:
        """Gives back messages that were fetched and not read; dramatiq would keep them until this process is dead."""
        self._closed = True
        unread, self.message_cache = self.message_cache, []
        self._returned += [key for key, _ in unread]
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Tells Redis which messages are done and which are given back; it never raises.

        While Redis is in trouble it leaves that to the next fetch, or to the process that finds the messages later.
        """
        if self.trouble is not None:
            return
        try:
            self._take(0)
            self._put_back()
        except redis.RedisError as error:
            self.trouble = ConsumerTrouble(error_code(error), time.monotonic())
            SELDOM.warning("messages.not_given_back", queue=self.queue_name, error=error_code(error))

    def _date_heartbeats(self) -> None:
        """Dates heartbeats of the future to now: after a clock that was ahead they would be alive for years."""
        beats, now = f"{self.broker.namespace}:__heartbeats__", int(time.time() * 1000)
        ahead = self.broker.client.zrangebyscore(beats, now + self.broker.heartbeat_timeout, "+inf")
        if ahead:
            self.broker.client.zadd(beats, dict.fromkeys(ahead, now), xx=True)

    def _put_back(self) -> None:
        with self._taking:
            returned = self._returned[:]
            if returned:
                self.broker.do_requeue(self.queue_name, *returned)
                del self._returned[: len(returned)]

    def _is_full(self) -> bool:
        """Tells whether less than half of the prefetch is free; it waits then, as a call per message costs more."""
        return bool(self._free() * 2 < self.prefetch)

    def _free(self) -> int:
        return int(self.prefetch - self.outstanding_message_count)

    def _fetch(self) -> bool:
        self._maintain_in_time()
        self._put_back()
        self.message_cache = self._take(self._free())
        self.trouble, self._errors = None, 0
        return bool(self.message_cache)

    def _maintain_in_time(self) -> None:
        if time.monotonic() - self._maintained_at >= MAINTENANCE_SECONDS:
            self._maintained_at = time.monotonic()
            self._maintain()

    def _adopt(self) -> None:
        """Puts back messages that dead processes had fetched."""
        self._date_heartbeats()
        self.broker.do_qsize(self.queue_name)

    def _maintain(self) -> None:
        """Puts back messages that dead processes had fetched, and messages that Redis wrongly counts as fetched here.

        When the answer to a fetch is lost, the client repeats it, and the messages of the first fetch have no consumer.
        """
        self._adopt()
        mine = f"{self.broker.namespace}:__acks__.{self.broker.broker_id}.{self.queue_name}"
        fetched = self.broker.client.smembers(mine)
        known = self.queued_message_ids | {*self._done, *self._returned} | {key for key, _ in self.message_cache}
        strays = fetched - known
        if strays:
            log.warning("messages.put_back", queue=self.queue_name, count=len(strays))
            self.broker.do_requeue(self.queue_name, *strays)

    def _take(self, count: int) -> list[tuple[bytes, bytes]]:
        """Deletes finished messages and fetches up to `count` new ones in one call; returns their keys and payloads."""
        with self._taking:
            done = self._done[:]
            answer: Sequence[bytes] = self._script(
                keys=[self.broker.namespace],
                args=[int(time.time() * 1000), self.queue_name, self.broker.broker_id, count, *done],
            )
            del self._done[: len(done)]  # only now: after a fault they are deleted with the next call
        return list(zip(answer[::2], answer[1::2], strict=True))

    def _read(self, key: bytes, data: bytes) -> MessageProxy:
        if is_oversized(data):
            kept = data[:MAX_MESSAGE_BYTES]
            return self._handed(self._aside(kept, **self._measured(key)._asdict()), key, kept)
        message = self._decoded(data) or self._aside(data)
        return self._handed(message, key, data)

    def _measured(self, key: bytes) -> MessageSize:
        messages = f"{self.broker.namespace}:{self.queue_name}.msgs"
        return measure_message(self.broker.client, messages, key, self._between_parts)

    def _between_parts(self) -> None:
        """Notes that this consumer is not stuck: it reads a large message."""
        self.turned_at = time.monotonic()

    def _handed(self, message: Message[Any], key: bytes, data: bytes) -> MessageProxy:
        self.queued_message_ids.add(key)
        # The sender's options are dropped, because they can control dramatiq (`throws`, `eta`).
        proxy = MessageProxy(replace(message, options={"redis_message_id": key}))
        # The bytes are kept until the message is acknowledged, because a refusal records them.
        proxy.raw = data  # type: ignore[attr-defined]
        return proxy

    def _decoded(self, data: bytes) -> Message[Any] | None:
        """Reads a message, or returns None when it cannot be read or does not belong on this queue."""
        try:
            message = Message.decode(data)
        except DecodeError:
            return None
        return message if self._acceptable(message) else None

    def _well_formed(self, message: Message[Any]) -> bool:
        texts = (message.queue_name, message.actor_name, message.message_id)
        return (
            all(isinstance(value, str) for value in texts)
            and isinstance(message.kwargs, dict)
            and not message.args
            and message.queue_name == self.queue_name
            and not (isinstance(message.options, dict) and "eta" in message.options)
        )

    def _acceptable(self, message: Message[Any]) -> bool:
        """Tells whether a message is a wake-up of this queue; a wake-up carries nothing."""
        if not self._well_formed(message) or message.kwargs:
            return False
        actor = self.broker.actors.get(message.actor_name)
        return actor is not None and message.actor_name != SET_ASIDE and actor.queue_name == self.queue_name

    def _aside(self, data: bytes, **size: object) -> Message[Any]:
        return Message(
            queue_name=self.queue_name,
            actor_name=SET_ASIDE,
            args=(),
            kwargs={"queue": self.queue_name, "data": base64.b64encode(data).decode(), **size},
            options={},
        )
