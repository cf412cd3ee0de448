"""Portals beside the broker send requests on queue `requests` with this client; it needs neither database nor actors.

    client = PortalClient("redis://localhost:6379/0", portal="local")
    client.send(Enroll(contract="C-2026-7", people=[...]), key="order-4711")

A sent request is not yet accepted: it is accepted once it is in the ledger. Send it again under the same key until
Matricule answers for it; the same key and body are done once.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from dramatiq.brokers.redis import RedisBroker
from dramatiq.message import Message, generate_unique_id
from pydantic_core import PydanticSerializationError

from models.label import SURROGATES
from models.words import Code
from workers.errors import InvalidRequest, Problem
from workers.redis_client import connect
from workers.requests.base import (
    ACCEPT_ACTOR,
    MAX_MESSAGE_BYTES,
    REQUESTS_QUEUE,
    Request,
    check_key,
)

TIMEOUT_SECONDS: Final = 2
"""The time limit of one try."""

SURELY_FITS: Final = MAX_MESSAGE_BYTES // 16
"""A body of this many characters always fits: each takes at most twelve bytes, the rest of the message is small."""

TRIES: Final = 3
"""After this many tries the caller gets the error and repeats the request under the same key."""

HALF_PAIR: Final = re.compile(f"[{SURROGATES}]")


class PortalClient:
    """Sends requests for one portal.

    Parameters:
      redis_url: the broker from which Matricule consumes, in any form of its setting ``REDIS_URL``.
      portal: the name of this portal.
      namespace: the prefix of Matricule's keys in that Redis.

    Raises: ValueError when `redis_url` has none of these forms; its text does not quote it.
    """

    def __init__(self, redis_url: str, *, portal: str = "local", namespace: str = "matricule") -> None:
        client = connect(redis_url, retries=TRIES - 1, seconds=TIMEOUT_SECONDS)
        self.portal = portal
        self.broker = RedisBroker(client=client, namespace=namespace, middleware=[])  # type: ignore[no-untyped-call]

    def send(self, request: Request, *, key: str) -> str:
        """Sends a request; returns the identifier of its message.

        Parameters:
          request: any request of ``workers.requests``.
          key: the idempotency key, 1 to 200 printable characters: the same for every repeat of this request and for no
            other request.

        Raises:
          InvalidRequest: the key is not valid (`invalid_request`); a text was cut inside a character and cannot be
            written (`unsafe_value`, for each field: ``people.3.first_name``); or the message would be over 256 KiB
            (`request_too_large`): send a file instead, or several requests.
          redis.RedisError: the broker does not answer, or refuses to write. The request may have arrived: repeat it
            under the same key.
        """
        check_key(key)
        body = _json(request)
        message: Message[None] = Message(
            queue_name=REQUESTS_QUEUE,
            actor_name=ACCEPT_ACTOR,
            args=(),
            kwargs={
                "portal": self.portal,
                "kind": request.kind,
                "version": request.version,
                "key": key,
                "body": body,
            },
            options={"redis_message_id": generate_unique_id()},  # the broker replaces it by another of the same length
        )
        if len(body) > SURELY_FITS and len(message.encode()) > MAX_MESSAGE_BYTES:
            raise InvalidRequest(Problem(Code.REQUEST_TOO_LARGE, "", f"over {MAX_MESSAGE_BYTES} bytes as a message"))
        self.broker.enqueue(message)
        return message.message_id

    def close(self) -> None:
        """Closes the connection."""
        self.broker.client.close()


def _json(request: Request) -> str:
    """Returns the JSON body of the request.

    Raises: InvalidRequest, naming the fields that hold half of a surrogate pair, such as a name cut inside an emoji.
    """
    try:
        return request.model_dump_json(exclude_unset=True)  # an option left out may mean "unchanged"
    except PydanticSerializationError:
        problems = [
            Problem(Code.UNSAFE_VALUE, field, "half of a surrogate pair: cut inside a character")
            for field, value in _texts(request.model_dump())
            if HALF_PAIR.search(value)
        ]
        if not problems:
            raise
        raise InvalidRequest(*problems) from None


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields every text of a request with the dotted path of its field."""
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    for name, part in parts:
        yield from _texts(part, f"{path}.{name}" if path else str(name))
