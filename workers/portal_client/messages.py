"""Sends requests over Redis, one or many, without waiting for an answer; it needs neither database nor actors.

    client = PortalClient("redis://localhost:6379/0", portal="shop", key_id="Ab3dEf7h", secret="mqs_…")
    client.send(Enroll(contract="C-2026-7", people=[...]), key="order-4711")
    client.send_many([(PutContract(reference="C-2026-8", ...), "contract-8"), (Enroll(...), "order-4712")])

``matricule portal create shop --queue`` shows the key id and the secret with which each message is signed.

A sent request is not yet accepted: it is accepted once it is in the ledger. Send it again under the same key until
Matricule answers for it; the same key and body are done once. Requests are recorded in the order in which they are
sent. ``read_answers`` tells which were accepted.
"""

import json
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple
from uuid import uuid4

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
from workers.requests.signing import sign
from workers.requests.streams import answer_stream, request_stream

Door = Literal["stream", "list"]
"""The two ways through Redis: the stream of the portal, or the queue that all portals share."""

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


class _SignedMessage(NamedTuple):
    """A message as Redis is given it.

    Parameters:
      fields: its fields, with the signature.
      size: its bytes, as Matricule counts them.
      content: for the queue, the message of dramatiq; empty for a stream.
      redis_id: for the queue, the key under which Redis holds it.
    """

    fields: Mapping[Any, str]
    size: int
    content: bytes = b""
    redis_id: str = ""


class SentAnswer(NamedTuple):
    """The outcome of a message, as the stream of answers tells it.

    Parameters:
      place: the place of the answer in its stream, from which ``read_answers`` goes on.
      message_id: as ``send`` returned it.
      key: the key of the request; empty when the message was not signed by this portal.
      job_id: the job, or empty.
      outcome: `accepted`, `repeated`, `conflict` or `refused`.
      code: why it was refused, or empty.
    """

    place: str
    message_id: str
    key: str
    job_id: str
    outcome: str
    code: str


class PortalClient:
    """Sends requests for one portal.

    Parameters:
      redis_url: the broker from which Matricule consumes, in any form of its setting ``REDIS_URL``.
      portal: the name of this portal.
      key_id: the id of its key.
      secret: the queue secret of this key.
      door: `stream` for the stream of this portal, the only key that the user of Redis of a portal may write; `list`
        for the queue `requests`, which needs the rights of Matricule itself.
      namespace: the prefix of Matricule's keys in that Redis.

    Raises: ValueError when `redis_url` has none of these forms; its text does not quote it.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        portal: str,
        key_id: str,
        secret: str,
        door: Door = "stream",
        namespace: str = "matricule",
    ) -> None:
        self.portal = portal
        self.namespace = namespace
        self.door = door
        self._key_id = key_id
        self._secret = secret
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
        return self._send([self._message(request, key)])[0]

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
        return [message_id for bundle in _bundles(messages) for message_id in self._send(bundle)]

    def read_answers(self, after: str = "0-0", *, seconds: float = 0.0) -> list[SentAnswer]:
        """Reads which messages were accepted, oldest first; the newest ten thousand or so are kept.

        It is a help: an answer may be lost with Redis, and the ledger holds the truth.

        Parameters:
          after: the place of the last answer that was read.
          seconds: how long to wait for an answer when there is none; at most one.

        Raises: redis.RedisError.
        """
        block = int(min(seconds, 1.0) * 1000) or None
        stream = answer_stream(self.namespace, self.portal)
        found = self._client.xread({stream: after}, block=block)
        return [_as_answer(place, fields) for place, fields in _entries(found)]

    def _message(self, request: Request, key: str) -> _SignedMessage:
        check_key(key)
        body, sent_at = request_json(request), int(time.time())
        named = {"portal": self.portal, "key_id": self._key_id, "kind": request.kind, "key": key, "body": body}
        signature = sign(self._secret, version=request.version, sent_at=sent_at, **named)
        fields = named | {"version": str(request.version), "sent_at": str(sent_at), "signature": signature}
        message = _for_stream(fields) if self.door == "stream" else _for_list(fields, request.version)
        if message.size > MAX_MESSAGE_BYTES:
            raise InvalidRequest(Problem(Code.REQUEST_TOO_LARGE, "", f"over {MAX_MESSAGE_BYTES} bytes as a message"))
        return message

    def _send(self, messages: Sequence[_SignedMessage]) -> list[str]:
        """Sends messages, all or none; a call that is repeated after a lost answer may add them to a stream twice."""
        if self.door == "list":
            given = [part for message in messages for part in (message.redis_id, message.content)]
            self._script(keys=[self.namespace], args=[REQUESTS_QUEUE, *given])
            return [message.redis_id for message in messages]
        stream = request_stream(self.namespace, self.portal)
        if len(messages) == 1:  # a pipeline for one command would cost the sender as much again
            return [_text(self._client.xadd(stream, {**messages[0].fields}))]
        with self._client.pipeline(transaction=True) as together:
            for message in messages:
                together.xadd(stream, {**message.fields})
            return [_text(entry) for entry in together.execute()]

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()


def _for_stream(fields: Mapping[str, str]) -> _SignedMessage:
    """Makes the entry of a stream; the stream itself names the portal."""
    named = {name: value for name, value in fields.items() if name != "portal"}
    return _SignedMessage(named, sum(len(name) + len(value.encode()) for name, value in named.items()))


def _for_list(fields: Mapping[str, str], version: int) -> _SignedMessage:
    """Makes the message as dramatiq writes it, in which the version is a number; dramatiq itself is not needed."""
    redis_id = str(uuid4())
    message = {
        "queue_name": REQUESTS_QUEUE,
        "actor_name": ACCEPT_ACTOR,
        "args": [],
        "kwargs": {**fields, "version": version},
        "options": {"redis_message_id": redis_id},
        "message_id": redis_id,
        "message_timestamp": int(time.time() * 1000),
    }
    content = json.dumps(message, separators=(",", ":")).encode()
    return _SignedMessage(fields, len(content), content, redis_id)


def _entries(found: Any) -> list[Any]:
    """Returns the entries of the one stream that was read, in either form in which a client gives them."""
    streams = [parts[0] for parts in found.values()] if isinstance(found, dict) else [parts for _, parts in found]
    return streams[0] if streams else []


def _as_answer(place: Any, fields: Mapping[Any, Any]) -> SentAnswer:
    told = {_text(name): _text(value) for name, value in fields.items()}
    return SentAnswer(_text(place), told["entry"], told["key"], told["job_id"], told["outcome"], told["code"])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _bundles(messages: Sequence[_SignedMessage]) -> Iterator[list[_SignedMessage]]:
    """Yields the messages in their order, as many at once as one call of the broker may carry."""
    bundle: list[_SignedMessage] = []
    size = 0
    for message in messages:
        if len(bundle) == MESSAGES_AT_ONCE or size + message.size > BYTES_AT_ONCE:
            yield bundle
            bundle, size = [], 0
        bundle.append(message)
        size += message.size
    if bundle:
        yield bundle


def request_json(request: Request, without: Collection[str] = ()) -> str:
    """Returns the JSON body of the request.

    Raises: InvalidRequest, naming the fields that hold half of a surrogate pair, such as a name cut inside an emoji.
    """
    try:
        return request.model_dump_json(
            exclude={*without}, exclude_unset=True
        )  # an option left out may mean "unchanged"
    except PydanticSerializationError:
        problems = [
            Problem(Code.UNSAFE_VALUE, field, "half of a surrogate pair: cut inside a character")
            for field, value in texts_of(request.model_dump(exclude={*without}))
            if HALF_PAIR.search(value)
        ]
        if not problems:
            raise
        raise InvalidRequest(*problems) from None


def texts_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yields every text of a request with the dotted path of its field."""
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    for name, part in parts:
        yield from texts_of(part, f"{path}.{name}" if path else str(name))
