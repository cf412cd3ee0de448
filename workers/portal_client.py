"""Portals beside the broker send requests on queue `requests` with this client; it needs neither database nor actors.

    client = PortalClient("redis://localhost:6379/0", portal="local")
    client.send(Enroll(contract="C-2026-7", people=[...]), key="order-4711")
    client.send_many([(PutContract(reference="C-2026-8", ...), "contract-8"), (Enroll(...), "order-4712")])

A sent request is not yet accepted: it is accepted once it is in the ledger. Send it again under the same key until
Matricule answers for it; the same key and body are done once. Requests are recorded in the order in which they are
sent.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

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

MESSAGES_AT_ONCE: Final = 500
"""The most messages that one call of Redis puts on the queue; the server does nothing else meanwhile."""

BYTES_AT_ONCE: Final = 4 * MAX_MESSAGE_BYTES
"""The most bytes of messages in one such call, so that it is sent well within ``TIMEOUT_SECONDS``."""

# Puts messages on a queue in the order given, all or none. After a lost answer the client repeats the call: a message
# that still waits is not put there twice. It is refused while Redis is over its memory limit, as any writing is.
ENQUEUE: Final = """#!lua flags=allow-cross-slot-keys
local queue = KEYS[1] .. ':' .. ARGV[1]
for i = 2, #ARGV, 2 do
  if redis.call('hsetnx', queue .. '.msgs', ARGV[i], ARGV[i + 1]) == 1 then
    redis.call('rpush', queue, ARGV[i])
  end
end
return redis.status_reply('OK')
"""


class _EncodedMessage(NamedTuple):
    """A message as the queue holds it.

    Parameters:
      redis_id: the key under which Redis holds it.
    """

    message_id: str
    redis_id: str
    content: bytes


class PortalClient:
    """Sends requests for one portal.

    Parameters:
      redis_url: the broker from which Matricule consumes, in any form of its setting ``REDIS_URL``.
      portal: the name of this portal.
      namespace: the prefix of Matricule's keys in that Redis.

    Raises: ValueError when `redis_url` has none of these forms; its text does not quote it.
    """

    def __init__(self, redis_url: str, *, portal: str = "local", namespace: str = "matricule") -> None:
        self.portal = portal
        self.namespace = namespace
        self._client = connect(redis_url, retries=TRIES - 1, seconds=TIMEOUT_SECONDS)
        self._script = self._client.register_script(ENQUEUE)

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
        message = self._message(request, key)
        self._enqueue([message])
        return message.message_id

    def send_many(self, requests: Iterable[tuple[Request, str]]) -> list[str]:
        """Sends requests in this order, many with each call of the broker; returns the identifiers of their messages.

        Parameters:
          requests: each request with its idempotency key, as for ``send``.

        Raises:
          InvalidRequest: some of them cannot be sent, as for ``send``; the field of each problem begins with the place
            of its request, from 0: ``3.people.0.first_name``. Nothing was sent.
          redis.RedisError: the broker does not answer, or refuses to write. The first of the requests may have arrived:
            repeat all of them, under the same keys and in the same order.
        """
        messages, problems = [], []
        for place, (request, key) in enumerate(requests):
            try:
                messages.append(self._message(request, key))
            except InvalidRequest as refused:
                problems += [
                    problem._replace(field=f"{place}.{problem.field}".strip(".")) for problem in refused.problems
                ]
        if problems:
            raise InvalidRequest(*problems)
        for bundle in _bundles(messages):
            self._enqueue(bundle)
        return [message.message_id for message in messages]

    def _message(self, request: Request, key: str) -> _EncodedMessage:
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
            options={"redis_message_id": generate_unique_id()},
        )
        content = message.encode()
        if len(content) > MAX_MESSAGE_BYTES:
            raise InvalidRequest(Problem(Code.REQUEST_TOO_LARGE, "", f"over {MAX_MESSAGE_BYTES} bytes as a message"))
        return _EncodedMessage(message.message_id, message.options["redis_message_id"], content)

    def _enqueue(self, messages: Sequence[_EncodedMessage]) -> None:
        given = [part for message in messages for part in (message.redis_id, message.content)]
        self._script(keys=[self.namespace], args=[REQUESTS_QUEUE, *given])

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()


def _bundles(messages: Sequence[_EncodedMessage]) -> Iterator[list[_EncodedMessage]]:
    """Yields the messages in their order, as many at once as one call of the broker may carry."""
    bundle: list[_EncodedMessage] = []
    size = 0
    for message in messages:
        if len(bundle) == MESSAGES_AT_ONCE or size + len(message.content) > BYTES_AT_ONCE:
            yield bundle
            bundle, size = [], 0
        bundle.append(message)
        size += len(message.content)
    if bundle:
        yield bundle


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
