"""What portals have sent and nobody has recorded: the one thing Redis holds that the ledger does not know of."""

import time
from typing import Final, NamedTuple, cast

import redis
from dramatiq.errors import DecodeError
from dramatiq.message import Message

from workers.engine.broker import producer_client
from workers.requests.base import REQUESTS_QUEUE
from workers.settings import get_settings

MILLISECONDS: Final = 1_000


class UnrecordedRequests(NamedTuple):
    """Requests on their way.

    Parameters:
      waiting: how many were sent and are not in the ledger yet.
      oldest_seconds: how long ago the first that no process has fetched was sent, by its sender's clock; None if there
        is none, or it cannot be read.
    """

    waiting: int
    oldest_seconds: float | None


def count_unheard() -> UnrecordedRequests | None:
    """Looks into Redis; None when it does not answer. Call it outside a transaction: it may take seconds to say so."""
    queue = f"{get_settings().redis_namespace}:{REQUESTS_QUEUE}"
    client = producer_client(get_settings().redis_url)
    try:
        waiting = client.hlen(f"{queue}.msgs")
        first = cast("bytes | None", client.lindex(queue, 0))
        payload = cast("bytes | None", client.hget(f"{queue}.msgs", first)) if first else None
    except redis.RedisError:
        return None
    finally:
        client.close()
    return UnrecordedRequests(waiting, _age(payload))


def _age(payload: bytes | None) -> float | None:
    try:
        sent = Message.decode(payload).message_timestamp if payload else None
    except DecodeError:
        return None
    return max(0.0, time.time() - sent / MILLISECONDS) if isinstance(sent, int | float) else None
