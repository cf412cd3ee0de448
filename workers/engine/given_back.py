"""The message that the readers of a door give back again and again, noted in Redis so that the status can tell.

The note is a hash beside the keys of the door. It is about the first message that is not recorded, so whichever process
acknowledges a message deletes it: the door goes on then.
"""

from typing import Final, NamedTuple, cast

import redis

KEPT_SECONDS: Final = 3_600
"""Seconds after which the note is gone if no reader gives that message back any more."""

# Counts how often in a row a message was given back, since when by the clock of Redis, and the last reason.
NOTE: Final = """#!lua flags=allow-oom
local note = KEYS[1]
if redis.call('hget', note, 'message') ~= ARGV[1] then
  redis.call('del', note)
  redis.call('hset', note, 'message', ARGV[1], 'since', redis.call('time')[1])
end
redis.call('hincrby', note, 'times', 1)
redis.call('hset', note, 'reason', ARGV[2])
redis.call('expire', note, ARGV[3])
"""


class GivenBackMessage(NamedTuple):
    """A message that was given back.

    Parameters:
      message: its identifier in Redis.
      reason: the code of the error for which it could not be recorded the last time, or `newer_release`.
      times: how often in a row it was given back.
      seconds: the seconds since the first time.
    """

    message: str
    reason: str
    times: int
    seconds: float


def note_given_back(client: redis.Redis, namespace: str, door: str, message: bytes, reason: str) -> None:
    """Notes that a reader of a door gave this message back.

    Raises: redis.RedisError.
    """
    client.register_script(NOTE)(keys=[_note_key(namespace, door)], args=[message, reason, KEPT_SECONDS])


def read_given_back(client: redis.Redis, namespace: str, door: str) -> GivenBackMessage | None:
    """Reads which message the readers of a door give back; returns None when the door goes on.

    Raises: redis.RedisError.
    """
    note = cast("dict[bytes, bytes]", client.hgetall(_note_key(namespace, door)))
    if not note:
        return None
    now, _ = client.time()
    texts = {name.decode(): value.decode(errors="replace") for name, value in note.items()}
    seconds = max(0.0, float(now) - float(texts["since"]))
    return GivenBackMessage(texts["message"], texts["reason"], int(texts["times"]), seconds)


def _note_key(namespace: str, door: str) -> str:
    return f"{namespace}:{door}.given_back"
