"""Asks Redis whether it takes writes and keeps what it was given: reading alone would find a full Redis healthy."""

from typing import Any, Final, NamedTuple
from uuid import uuid4

import redis

from workers.engine.broker import producer_client
from workers.redis_client import error_code
from workers.settings import get_settings

NO_EVICTION: Final = "noeviction"

TRIED_SECONDS: Final = 10
"""Seconds after which the key that was written is gone, should it not be deleted."""


class RedisCondition(NamedTuple):
    """How a Redis that answers does its work.

    Parameters:
      refusal: the code of the error with which it refuses to write (`OOM`, `READONLY`, …); None when it wrote.
      eviction: its `maxmemory-policy`; None when it does not tell.
      appendonly: whether it keeps an append-only file; None when it does not tell.
    """

    refusal: str | None = None
    eviction: str | None = None
    appendonly: bool | None = None


_CLIENTS: Final[dict[str, redis.Redis]] = {}


def shared_client(url: str) -> redis.Redis:
    """Returns the client by which this process looks at Redis; making one, and connecting, costs more than a look.

    A connection that was lost is made anew at the next command.
    """
    if url not in _CLIENTS:
        _CLIENTS[url] = producer_client(url)
    return _CLIENTS[url]


def forget_clients() -> None:
    """Closes the connections of these clients."""
    while _CLIENTS:
        _CLIENTS.popitem()[1].close()


def look_at_redis() -> RedisCondition | None:
    """Writes a key and deletes it again, and reads two options; returns None when Redis does not answer.

    It must be called outside a transaction, because it may wait for seconds when Redis is away.
    """
    client = shared_client(get_settings().redis_url)
    try:
        key = f"{get_settings().redis_namespace}:status:{uuid4()}"
        client.set(key, 1, ex=TRIED_SECONDS)
        client.delete(key)
    except redis.RedisError as error:
        return None if _is_silence(error) else RedisCondition(error_code(error))
    memory, persistence = _told(client, "memory"), _told(client, "persistence")
    appendonly = persistence.get("aof_enabled")
    return RedisCondition(None, memory.get("maxmemory_policy"), None if appendonly is None else bool(appendonly))


def _is_silence(error: redis.RedisError) -> bool:
    """Tells whether Redis did not answer at all; it answers a wrong password, and while it loads its data."""
    answered = isinstance(error, redis.AuthenticationError) or error.status_code is not None
    return isinstance(error, redis.ConnectionError | redis.TimeoutError) and not answered


def _told(client: redis.Redis, section: str) -> dict[str, Any]:
    """Reads a section of what Redis tells about itself; it is empty when this user may not ask."""
    try:
        told: dict[str, Any] = client.info(section)
    except redis.RedisError:
        return {}
    return told
