"""Counts the requests that portals have sent and no process has recorded yet; only Redis knows of them."""

import time
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, cast

import redis
from dramatiq.errors import DecodeError
from dramatiq.message import Message

from workers.engine.door_lease import read_holder
from workers.engine.door_notes import DoorNotes, GivenBackMessage, MessagesAtFault
from workers.engine.streams import ASIDE
from workers.engine.streams import DOOR as STREAMS
from workers.ops.redis_condition import shared_client
from workers.requests.base import MAX_MESSAGE_BYTES, REQUESTS_QUEUE
from workers.requests.streams import request_stream
from workers.settings import get_settings

MILLISECONDS: Final = 1_000


# Counts the entries of a stream, and tells the first one; its content stays in Redis, because it may be large.
COUNT_STREAM: Final = """#!lua flags=allow-oom
local first = redis.call('xrange', KEYS[1], '-', '+', 'count', 1)[1]
return {redis.call('xlen', KEYS[1]), first and first[1] or ''}
"""


class UnrecordedRequests(NamedTuple):
    """The requests that are in Redis and not yet in the ledger.

    Parameters:
      waiting: their number, on the queue and in the streams of portals.
      oldest_seconds: the age of the first one, fetched by a process or not, by its sender's clock, in a stream by that
        of Redis; None if there is none, or it cannot be read.
      reader: the process that reads them, as `host:number of the process`; None while none does.
      given_back: the message that could not be recorded and holds up the others; None while there is none.
      at_fault: those that were refused because the database failed on each alone; None when there was none for a day.
    """

    waiting: int
    oldest_seconds: float | None
    reader: str | None = None
    given_back: GivenBackMessage | None = None
    at_fault: MessagesAtFault | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns the count as the status shows it."""
        noted = {"given_back": self.given_back, "at_fault": self.at_fault}
        return self._asdict() | {name: note and note._asdict() for name, note in noted.items()}


def count_unrecorded() -> UnrecordedRequests | None:
    """Reads the count from Redis, or None when Redis does not answer.

    It must be called outside a transaction, because it may wait for seconds when Redis is away.
    """
    queue = f"{get_settings().redis_namespace}:{REQUESTS_QUEUE}"
    client = shared_client(get_settings().redis_url)
    try:
        waiting = client.hlen(f"{queue}.msgs")
        # What a process has fetched is older than what still waits.
        first = cast("bytes | None", client.lindex(f"{queue}.taken", 0) or client.lindex(queue, 0))
        payload = _read_small(client, f"{queue}.msgs", first) if first else None
        reader = read_holder(client, get_settings().redis_namespace, REQUESTS_QUEUE)
        notes = [DoorNotes(client, get_settings().redis_namespace, door) for door in (REQUESTS_QUEUE, STREAMS)]
        given_back, at_fault = (
            _longest([note.given_back() for note in notes]),
            _added([one.at_fault() for one in notes]),
        )
        streams = _count_streams(client)
    except redis.RedisError:
        return None
    ages = [age for age in (_age(payload), streams.oldest_seconds) if age is not None]
    return UnrecordedRequests(waiting + streams.waiting, max(ages, default=None), reader, given_back, at_fault)


def _longest(notes: Iterable[GivenBackMessage | None]) -> GivenBackMessage | None:
    """Returns the message that holds up others for the longest time."""
    return max((note for note in notes if note), key=lambda note: note.seconds, default=None)


def _added(notes: Iterable[MessagesAtFault | None]) -> MessagesAtFault | None:
    """Returns the refused messages of both doors together, with the reason of the last one."""
    known = [note for note in notes if note]
    last = min(known, key=lambda note: note.seconds, default=None)
    return last and last._replace(number=sum(note.number for note in known))


class _CountedStreams(NamedTuple):
    waiting: int
    oldest_seconds: float | None


def _count_streams(client: redis.Redis) -> _CountedStreams:
    """Counts what is in the streams of portals; what is recorded is deleted from them."""
    found = client.scan_iter(match=request_stream(get_settings().redis_namespace, "*"), count=1_000, _type="stream")
    counting, waiting, ages = client.register_script(COUNT_STREAM), 0, []
    for stream in found:
        length, first = cast("tuple[int, bytes]", counting(keys=[stream]))
        waiting += length
        if first and not stream.endswith(ASIDE.encode()):  # there, identifiers tell no time
            ages.append(max(0.0, time.time() - int(first.partition(b"-")[0]) / MILLISECONDS))
    return _CountedStreams(waiting, max(ages, default=None))


def _read_small(client: redis.Redis, messages: str, key: bytes) -> bytes | None:
    """Reads a message, but not one that is too large, only to tell its age."""
    if client.hstrlen(messages, key) > MAX_MESSAGE_BYTES:
        return None
    return cast("bytes | None", client.hget(messages, key))


def _age(payload: bytes | None) -> float | None:
    try:
        sent = Message.decode(payload).message_timestamp if payload else None
    except DecodeError:
        return None
    return max(0.0, time.time() - sent / MILLISECONDS) if isinstance(sent, int | float) else None
