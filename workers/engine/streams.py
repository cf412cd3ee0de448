"""The streams of portals in Redis: each portal adds its requests to one of its own, and reads the answers in another.

The keys, with the namespace of Matricule before each:

* `stream:<portal>`: the requests. What is recorded is deleted, so the first entry is the oldest request that is not.
* `stream:<portal>.aside`: a stream that was renamed because an identifier lies in the future. Redis gives each entry a
  higher one than the last, so with the highest of all no further entry can be added, and with any other the time of
  those that follow would be wrong. It is read to its end before the stream of the portal is.
* `answers:<portal>`: whether requests were accepted; the newest ten thousand or so.
* `streams.holder`: the process that reads (``workers/engine/door_lease.py``).
* `streams.given_back`, `streams.at_fault`: entries it has trouble with (``workers/engine/door_notes.py``).

There is no consumer group. One process reads at a time, so the order and the deletion say what a group would say a
second time, in a list that is lost or destroyed on its own.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import redis

from workers.engine.broker import producing_client
from workers.engine.consumer import SELDOM
from workers.engine.door import BUNDLE, BUNDLE_BYTES, DoorAnswer, SentMessage
from workers.engine.door_lease import HOLD, DoorLease
from workers.engine.door_notes import DoorNotes
from workers.engine.oversized import MessageSize
from workers.redis_client import error_code
from workers.requests.base import MAX_MESSAGE_BYTES
from workers.requests.streams import answer_stream, request_stream
from workers.settings import get_settings

DOOR: Final = "streams"
"""The name of the door of all streams: one process holds them together."""

FIELDS: Final = frozenset({"kind", "version", "key", "key_id", "sent_at", "signature", "body"})
"""The fields of an entry."""

ASIDE: Final = ".aside"

FUTURE_MS: Final = 60_000
"""Milliseconds that an identifier may be ahead of the clock of Redis: a replica that takes over may be a bit late."""

LARGEST: Final = f"{2**64 - 1}-{2**64 - 1}"
"""The largest identifier of an entry; there is none behind it."""

KEPT_ANSWERS: Final = 10_000

# Deletes what is recorded, and the note about it if it was given back before, and fetches what is in each stream in
# turn, up to a bundle; answers nil while another process reads. What is recorded is deleted by the holder alone: in a
# stream that was made anew since, an identifier may stand for another request. A stream that cannot be read harms no
# other. Of an entry that is too large it answers the beginning. An entry is two texts, its place and its fields with
# U+0000 between: redis-py would take longer to read the fields one by one than all else takes. No field of a request
# holds that character.
FETCH: Final = (
    "#!lua flags=allow-oom,allow-cross-slot-keys\n"
    f"local most, enough, ahead, largest = {MAX_MESSAGE_BYTES}, {BUNDLE_BYTES}, {FUTURE_MS}, '{LARGEST}'\n"
    f"{HOLD}"
    """
local count, first, streams = tonumber(ARGV[3]), tonumber(ARGV[4]), #KEYS - 1
if not hold(KEYS[1], ARGV[1], tonumber(ARGV[2])) then
  return false
end
local note = redis.call('hget', string.sub(KEYS[1], 1, -7) .. 'given_back', 'message')
for i = 5, #ARGV, 2 do
  redis.pcall('xdel', ARGV[i], ARGV[i + 1])
  if note == ARGV[i] .. ' ' .. ARGV[i + 1] then
    redis.call('del', string.sub(KEYS[1], 1, -7) .. 'given_back')
  end
end
local now, found, bytes, unreadable = redis.call('time')[1] * 1000, {}, 0, {}
local function take(place, key)
  local from = '-'
  while #found < 2 * count and bytes < enough do
    local entry = from and redis.call('xrange', key, from, '+', 'count', 1)[1]
    if not entry then
      return
    end
    local parts = #entry[2]
    local content = table.concat(entry[2], '\\0')
    local size = string.len(content) - parts + 1
    if size > most then
      content = string.sub(content, 1, most)
    end
    bytes = bytes + string.len(content)
    table.insert(found, place .. ' ' .. key .. ' ' .. entry[1] .. ' ' .. size .. ' ' .. parts)
    table.insert(found, content)
    from = entry[1] ~= largest and '(' .. entry[1]
  end
end
local function read(place, key)
  local aside = key .. '.aside'
  if redis.call('xlen', aside) == 0 then
    redis.call('del', aside)
    local last = redis.call('xrevrange', key, '+', '-', 'count', 1)[1]
    if last and tonumber(string.match(last[1], '^%d+')) > now + ahead then
      redis.call('rename', key, aside)
    end
  end
  take(place, aside)
  take(place, key)
end
for turn = 0, streams - 1 do
  local place = (first + turn) % streams
  if not pcall(read, place, KEYS[2 + place]) then
    table.insert(unreadable, place)
  end
end
return {found, unreadable}
"""
)

# Deletes what is recorded and ends the lease, for the holder only.
LEAVE: Final = """#!lua flags=allow-oom,allow-cross-slot-keys
if redis.call('get', KEYS[1]) ~= ARGV[1] then
  return
end
local note = redis.call('hget', string.sub(KEYS[1], 1, -7) .. 'given_back', 'message')
for i = 2, #ARGV, 2 do
  redis.pcall('xdel', ARGV[i], ARGV[i + 1])
  if note == ARGV[i] .. ' ' .. ARGV[i + 1] then
    redis.call('del', string.sub(KEYS[1], 1, -7) .. 'given_back')
  end
end
redis.call('del', KEYS[1])
"""

# Adds answers, given as JSON: the number of its stream, entry, key, job_id, outcome and code of each. A Redis over its
# memory limit refuses it.
ANSWER: Final = f"""#!lua flags=allow-cross-slot-keys
for _, told in ipairs(cjson.decode(ARGV[1])) do
  redis.pcall('xadd', KEYS[told[1]], 'maxlen', '~', {KEPT_ANSWERS}, '*', 'entry', told[2],
    'key', told[3], 'job_id', told[4], 'outcome', told[5], 'code', told[6])
end
"""


class StreamEntry(NamedTuple):
    """The place of an entry: the key of its stream, and its identifier."""

    stream: bytes
    entry: bytes

    @property
    def note(self) -> bytes:
        """The name of the entry in notes for operators; the script that deletes it compares it."""
        return b" ".join(self)


class FetchedEntries(NamedTuple):
    """The oldest entries that are not recorded, of all streams.

    Parameters:
      messages: as ``Bundle`` takes them; those of one portal in their order.
      places: the place of each.
      readable: the keys of the streams that can be read, to wait for.
    """

    messages: Sequence[SentMessage]
    places: Sequence[StreamEntry]
    readable: Sequence[str]


class PortalStreams:
    """The streams of all portals, for a process that reads them.

    Parameters:
      client: a client that sends each command once.
      reader: the identifier of this process.
    """

    def __init__(self, client: redis.Redis, namespace: str, reader: str) -> None:
        self.client = client
        self.namespace = namespace
        self.lease = DoorLease(client, namespace, DOOR, reader)
        self.notes = DoorNotes(client, namespace, DOOR)
        self._fetching = client.register_script(FETCH)
        self._leaving = client.register_script(LEAVE)
        self._first = 0  # the stream that is read first, so that a full one keeps no other from being read

    def fetch(self, portals: Sequence[str], done: Iterable[StreamEntry]) -> FetchedEntries | None:
        """Deletes what is recorded, and fetches a bundle; returns None while another process reads.

        Raises: redis.RedisError.
        """
        streams = [request_stream(self.namespace, portal) for portal in portals]
        recorded = [part for place in done for part in place]
        first = self._first % len(streams) if streams else 0
        args: list[Any] = [self.lease.holder, self.lease.milliseconds, BUNDLE, first, *recorded]
        answer = self._fetching(keys=[self.lease.key, *streams], args=args)
        if answer is None:
            return None
        found, unreadable = answer
        heads = [head.split(b" ") for head in found[::2]]
        if heads:
            self._first = int(heads[-1][0]) + 1
        return FetchedEntries(
            [_message(portals[int(head[0])], head, content) for head, content in zip(heads, found[1::2], strict=True)],
            [StreamEntry(stream, entry) for _, stream, entry, *_ in heads],
            [stream for place, stream in enumerate(streams) if place not in unreadable],
        )

    def wait(self, streams: Sequence[str], seconds: float) -> None:
        """Waits inside Redis until one of these streams has an entry; it takes none.

        Raises: redis.RedisError.
        """
        self.client.xread(dict.fromkeys(streams, "0-0"), count=1, block=max(1, int(seconds * 1000)))

    def leave(self, done: Iterable[StreamEntry]) -> None:
        """Deletes what is recorded, and lets another process read at once.

        Raises: redis.RedisError.
        """
        self._leaving(keys=[self.lease.key], args=[self.lease.holder, *(part for place in done for part in place)])


def _message(portal: str, head: Sequence[bytes], content: bytes) -> SentMessage:
    """Makes the message of an entry; its fields are None when they are not those of a request."""
    stream, entry, size, parts = head[1], head[2], int(head[3]), int(head[4])
    if size > MAX_MESSAGE_BYTES:
        told = MessageSize(size, f"beginning:{hashlib.sha256(content).hexdigest()}")
        return SentMessage(entry, content, None, told, portal=portal)
    return SentMessage(entry, content, _fields(portal, parts, content), None, _arrived(stream, entry), portal)


def _fields(portal: str, parts: int, content: bytes) -> dict[str, Any] | None:
    try:
        texts = content.decode().split("\0")
    except UnicodeDecodeError:
        return None
    if len(texts) != parts:
        return None
    fields: dict[str, Any] = dict(zip(texts[::2], texts[1::2], strict=True))
    if len(fields) * 2 != parts or not fields.keys() <= FIELDS:
        return None
    fields["portal"] = portal
    return fields


def _arrived(stream: bytes, entry: bytes) -> float | None:
    """Returns when an entry was added by the clock of Redis; None where the identifiers of a stream are wrong."""
    return None if stream.endswith(ASIDE.encode()) else int(entry.partition(b"-")[0]) / 1000


def tell_portals(answers: Sequence[DoorAnswer]) -> None:
    """Tells portals what became of their messages. It is a help and may be lost: the ledger holds the answers."""
    if not answers:
        return
    namespace = get_settings().redis_namespace
    portals = {portal: place for place, portal in enumerate(dict.fromkeys(one.portal for one in answers), start=1)}
    told = [
        (portals[portal], entry, key, job_id, outcome, code)
        for portal, entry, key, (outcome, job_id, code, _) in answers
    ]
    try:
        _answering()(keys=[answer_stream(namespace, portal) for portal in portals], args=[json.dumps(told)])
    except redis.RedisError as error:
        SELDOM.warning("portals.not_told", error=error_code(error))


def _answering() -> Any:
    """Returns the script that adds answers, with the client for wake-ups, which gives up soon."""
    return producing_client().register_script(ANSWER)
