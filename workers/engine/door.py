"""The consumer of the door of portals: one process at a time reads it, one bundle after the other, in order.

The keys in Redis, beside dramatiq's own of the queue (`requests`, `requests.msgs`):

* `requests.holder`: the process that reads (``workers/engine/door_lease.py``).
* `requests.taken`: the identifiers of the messages it has fetched and not acknowledged, in order.
* `requests.given_back`, `requests.at_fault`: messages it has trouble with (``workers/engine/door_notes.py``).

A fetch first puts what is in `requests.taken` back to the head of the queue, so the next bundle always begins with the
oldest request that is not acknowledged. That one rule serves a process that died or froze, an answer of Redis
that was lost, a process that stops, and a bundle that was left in the middle: leaving a message means not to
acknowledge it. Dramatiq would put it at the end of the queue, behind requests that were sent after it.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

import redis
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.message import Message

from workers.engine.consumer import SELDOM, SHORT_WAIT, ConsumerTrouble, SteadyConsumer
from workers.engine.door_lease import HOLD, LOOK_SECONDS, RENEW_SECONDS, DoorLease
from workers.engine.door_notes import DoorNotes
from workers.engine.oversized import MessageSize, is_oversized
from workers.engine.stopping import DRAINED_WAIT, DRAINING, STOPPING
from workers.engine.tries import REFUSED, STOPS
from workers.redis_client import error_code
from workers.requests.base import ACCEPT_ACTOR, MAX_MESSAGE_BYTES

BUNDLE: Final = 200
"""The most messages of a bundle: one statement records them, and a failure of one makes it record each alone."""

BUNDLE_BYTES: Final = 2 * 1024 * 1024
"""Bytes after which a bundle is full, even if it has few messages."""

REST_SECONDS: Final = 2 * LOOK_SECONDS
"""Seconds for which a process that left a bundle does not ask for the door, so that another one takes it."""

# Acknowledges messages, puts back what else was taken, and fetches; asked for none it leaves it at that, for the holder
# only. Answers nil while another process holds the door. Acknowledging needs no lease: what is in the ledger is done,
# no matter who recorded it. Each command has one key, as a cluster of one shard demands of a script.
FETCH: Final = (
    "#!lua flags=allow-oom,allow-cross-slot-keys\n"
    f"local most, enough = {MAX_MESSAGE_BYTES + 1}, {BUNDLE_BYTES}\n"
    f"{HOLD}"
    """
local queue, count = KEYS[1], tonumber(ARGV[3])
local messages, taken = queue .. '.msgs', queue .. '.taken'
for i = 4, #ARGV do
  redis.call('hdel', messages, ARGV[i])
  redis.call('lrem', taken, 1, ARGV[i])
end
if #ARGV > 3 then
  redis.call('del', queue .. '.given_back')
end
if count == 0 and redis.call('get', queue .. '.holder') ~= ARGV[1] then
  return {}
end
if not hold(queue .. '.holder', ARGV[1], tonumber(ARGV[2])) then
  return false
end
local left = redis.call('rpop', taken)
while left do
  redis.call('lpush', queue, left)
  left = redis.call('rpop', taken)
end
local fetched, bytes = {}, 0
while #fetched < 2 * count and bytes < enough do
  local key = redis.call('lpop', queue)
  if not key then
    break
  end
  local payload = redis.call('hget', messages, key)
  if payload then
    payload = string.sub(payload, 1, most)
    bytes = bytes + string.len(payload)
    redis.call('rpush', taken, key)
    table.insert(fetched, key)
    table.insert(fetched, payload)
  end
end
return fetched
"""
)


class SentMessage(NamedTuple):
    """A message as it came through the door.

    Parameters:
      key: its identifier in Redis.
      data: its bytes, or the first of them when it is too large.
      fields: the arguments of a request; None when the message cannot be read.
      size: its length and SHA-256, if it is too large.
      arrived: when it came by the clock of Redis, in seconds since 1970; None where that is not known.
      portal: the portal by which stream it came; empty for a message on the queue.
    """

    key: bytes
    data: bytes
    fields: dict[str, Any] | None
    size: MessageSize | None = None
    arrived: float | None = None
    portal: str = ""


class Outcome(StrEnum):
    """The outcomes of a message of a portal."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"  # the same request was accepted before, under the same key
    CONFLICT = "conflict"  # the key belongs to another request
    REFUSED = "refused"


class MessageOutcome(NamedTuple):
    """The outcome of a message, for its portal.

    Parameters:
      job_id: its job; empty for a message that was refused before.
      code: why it was refused; empty otherwise.
      verified: the portal that it names has sent it.
    """

    outcome: Outcome
    job_id: str
    code: str = ""
    verified: bool = True


class DoorAnswer(NamedTuple):
    """An answer to a message, for the portal that sent it.

    Parameters:
      entry: the identifier of the message in Redis.
      key: the key of the request; empty when its signature was not verified, because anyone can name a key.
    """

    portal: str
    entry: str
    key: str
    outcome: MessageOutcome


@dataclass(slots=True)
class Bundle:
    """Messages that were fetched together, in the order in which they were sent.

    Parameters:
      begun: a thread records it; until then the lease of the door is not renewed, so that a process without a free
        thread does not keep others from reading.
      recorded: how many of the messages, counted from the first, are in the ledger.
      left_for: the reason why the rest was given back (``GivenBackError``); None while there is none.
      fault: the code of the error for which the last recorded message was refused, because the database failed on it
        alone; None when it did not.
      answers: the answers to these, as far as a portal is known to which they are given.
    """

    messages: Sequence[SentMessage]
    begun: bool = False
    recorded: int = 0
    left_for: str | None = None
    fault: str | None = None
    answers: list[DoorAnswer] = field(default_factory=list)

    def count(self, message: SentMessage, outcome: MessageOutcome) -> None:
        """Counts the next message as recorded, and keeps the answer for its portal.

        A message that no portal has signed is answered only if it came by a stream, to which no other portal may write,
        and not under the key that it names.
        """
        self.recorded += 1
        named = message.fields if outcome.verified else None
        portal = named["portal"] if named else message.portal
        if portal:
            entry = message.key.decode(errors="replace")
            self.answers.append(DoorAnswer(portal, entry, named["key"] if named else "", outcome))


class LostDoorError(Exception):
    """Another process holds the door by now: it reads what this one has fetched."""


class DoorConsumer(SteadyConsumer):
    """Reads the door while this process holds its lease; it has one bundle at a time in hand.

    The bundle is handed over as one message, so that dramatiq does not dispatch each request by itself.
    """

    def __init__(self, broker: RedisBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)
        self.lease = DoorLease(broker.client, broker.namespace, queue_name, broker.broker_id)
        self._notes = DoorNotes(broker.client, broker.namespace, queue_name)
        self._queue = f"{broker.namespace}:{queue_name}"
        self._fetching = broker.client.register_script(FETCH)
        self._bundle: Bundle | None = None  # the one that a thread of this process records
        self._holds = False
        self._renewed_at = 0.0
        self._rests_until = 0.0

    def _next(self) -> MessageProxy | None:
        bundle = self._bundle
        if bundle is not None:
            self._keep_door(bundle)
        elif DRAINING.is_set():
            self._rest()
        elif STOPPING.is_set() or time.monotonic() < self._rests_until:
            self._leave()
            time.sleep(SHORT_WAIT)
        else:
            return self._next_bundle()
        return None

    @property
    def holds(self) -> bool:
        """Whether a bundle is recorded, or this process still holds the door."""
        return self._bundle is not None or (self._holds and self.trouble is None)

    def _rest(self) -> None:
        """Leaves the door to another process."""
        self._leave()
        self.trouble, self._errors = None, 0
        STOPPING.wait(DRAINED_WAIT)

    def _keep_door(self, bundle: Bundle) -> None:
        """Waits until the bundle is recorded, and renews the lease meanwhile."""
        if self._freed.wait(RENEW_SECONDS):
            self._freed.clear()
        elif bundle.begun:
            self._holds = self.lease.renew()
            self.trouble, self._errors = None, 0

    def _next_bundle(self) -> MessageProxy | None:
        self._maintain_in_time()
        fetched = self._fetch_bundle(BUNDLE)
        self.trouble, self._errors = None, 0
        self._holds = fetched is not None
        if fetched is None:
            STOPPING.wait(LOOK_SECONDS)
        elif not fetched:
            self._wait_for_message()
        else:
            self.misses = 0
            return self._read_bundle(fetched)
        return None

    def _read_bundle(self, fetched: Sequence[tuple[bytes, bytes]]) -> MessageProxy | None:
        """Reads what was fetched; returns None when another process took the door meanwhile."""
        self._renewed_at = time.monotonic()
        try:
            return self._bundled([self._sent(key, data) for key, data in fetched])
        except LostDoorError:
            self._holds = False
            return None

    def _between_parts(self) -> None:
        """Renews the lease while a message is measured that is so large that the lease would end before it is read.

        Raises: LostDoorError.
        """
        super()._between_parts()
        if time.monotonic() - self._renewed_at >= RENEW_SECONDS:
            self._renewed_at = time.monotonic()
            if not self.lease.renew():
                raise LostDoorError

    def _fetch_bundle(self, count: int) -> list[tuple[bytes, bytes]] | None:
        """Acknowledges what is done, and fetches keys and payloads; returns None while another process reads."""
        with self._taking:
            done = self._done[:]
            args: list[str | int | bytes] = [self.lease.holder, self.lease.milliseconds, count, *done]
            answer: Sequence[bytes] | None = self._fetching(keys=[self._queue], args=args)
            del self._done[: len(done)]  # only now: after a fault they are acknowledged with the next call
        return None if answer is None else list(zip(answer[::2], answer[1::2], strict=True))

    def _sent(self, key: bytes, data: bytes) -> SentMessage:
        if is_oversized(data):
            return SentMessage(key, data[:MAX_MESSAGE_BYTES], None, self._measured(key))
        message = self._decoded(data)
        return SentMessage(key, data, None if message is None else message.kwargs)

    def _acceptable(self, message: Message[Any]) -> bool:
        # Before requests came in bundles, their fields were the arguments of a method; `self` could not be one.
        return self._well_formed(message) and message.actor_name == ACCEPT_ACTOR and "self" not in message.kwargs

    def _bundled(self, messages: Sequence[SentMessage]) -> MessageProxy:
        options = {"redis_message_id": messages[0].key}
        message: Message[Any] = Message(
            queue_name=self.queue_name, actor_name=ACCEPT_ACTOR, args=(), kwargs={}, options=options
        )
        proxy = MessageProxy(message)
        self._bundle = proxy.bundle = Bundle(messages)  # type: ignore[attr-defined]
        return proxy

    def ack(self, message: MessageProxy) -> None:
        """Marks what was recorded to be acknowledged with the next fetch; the rest of the bundle is left.

        If the process dies before that fetch, the requests are read again, which their keys make harmless.
        """
        bundle: Bundle = message.bundle
        with self._taking:
            self._done += [one.key for one in bundle.messages[: bundle.recorded]]
        if bundle.recorded < len(bundle.messages) and bundle.left_for != REFUSED:
            self._rests_until = time.monotonic() + REST_SECONDS
        self._note_trouble(bundle)
        self._bundle = None
        self._freed.set()
        if self._closed:  # nothing will be fetched any more
            self._say_goodbye()

    def _note_trouble(self, bundle: Bundle) -> None:
        """Notes a message that was given back, or refused for a fault of the database, for the status to tell."""
        try:
            if bundle.fault is not None:
                self._notes.note_at_fault(bundle.fault)
            elif bundle.left_for not in (None, STOPS):
                self._notes.note_given_back(bundle.messages[bundle.recorded].key, str(bundle.left_for))
        except redis.RedisError as error:
            SELDOM.warning("door.not_noted", queue=self.queue_name, error=error_code(error))

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Leaves bundles that no thread began, because this process stops."""
        for message in messages:
            self.ack(message)

    def close(self) -> None:
        """Leaves the door to another process at once, unless a bundle is still being recorded."""
        self._closed = True
        if self._bundle is None:
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        if self.trouble is not None:
            return
        try:
            self._leave()
        except redis.RedisError as error:
            self.trouble = ConsumerTrouble(error_code(error), time.monotonic())
            SELDOM.warning("door.not_left", queue=self.queue_name, error=error_code(error))

    def _leave(self) -> None:
        """Acknowledges what is done, puts back what was fetched and left, in its order, and ends the lease."""
        if self._done or self._holds:
            self._fetch_bundle(0)
        if self._holds:
            self.lease.release()
            self._holds = False

    def _maintain(self) -> None:
        """Puts back messages that a process of release 0.3.0 or earlier had fetched; it notes them elsewhere."""
        self._adopt()
