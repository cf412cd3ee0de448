"""Messages that are too large: their length and SHA-256 are read from Redis in parts, and only their beginning is kept.

A message of 100 MB that is fetched, decoded and recorded as others are takes six times its size in memory.
"""

import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple, cast

import redis

from workers.requests.base import MAX_MESSAGE_BYTES

PART: Final = 8 * 1024 * 1024
"""Bytes of a message that are in memory at once."""

# Redis has no command for a part of a hash field.
READ_PART: Final = """
local payload = redis.call('hget', KEYS[1], ARGV[1])
return payload and string.sub(payload, tonumber(ARGV[2]) + 1, tonumber(ARGV[2]) + tonumber(ARGV[3])) or ''
"""


class MessageSize(NamedTuple):
    """The length of a message in bytes, and its SHA-256 in hexadecimal digits."""

    length: int
    sha256: str


def is_oversized(data: bytes) -> bool:
    """Tells whether a message is too large; of such a message ``TAKE`` fetches one byte more than the largest has."""
    return len(data) > MAX_MESSAGE_BYTES


class ChangedMessageError(redis.RedisError):
    """A message changed or went away while it was read in parts; it is to be fetched again."""


def measure_message(client: redis.Redis, messages: str, key: bytes, between: Callable[[], None]) -> MessageSize:
    """Reads a message of this hash in parts; returns its size.

    Parameters:
      between: called after each part; hundreds of megabytes take seconds, in which a lease must be renewed.

    Raises:
      ChangedMessageError: its length is no longer that of the beginning, or it is not too large any more.
      redis.RedisError: any other error of Redis.
    """
    expected = client.hstrlen(messages, key)
    digest, length = hashlib.sha256(), 0
    script = client.register_script(READ_PART)
    while part := cast("bytes", script(keys=[messages], args=[key, length, PART])):
        digest.update(part)
        length += len(part)
        between()
    if length != expected or length <= MAX_MESSAGE_BYTES:
        raise ChangedMessageError
    return MessageSize(length, digest.hexdigest())
