"""The tests of the `requests` queue use these: correct messages, and everything else that may arrive on a queue."""

import json
import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from uuid import uuid4

import pytest
import redis

from models.words import Code
from tests.kit.builders.portals import PortalCredentials, make_portal
from workers.errors import InvalidRequest
from workers.portal_client import Door, PortalClient
from workers.requests.base import Request
from workers.requests.registry import parse
from workers.requests.signing import SignedFields
from workers.requests.streams import request_stream

PERSON = {"email": "a@example.com", "first_name": "Zoé", "last_name": "Le Dû"}
ENROLL = {"contract": "C-1", "people": [PERSON]}
COMPANY = {"reference": "acme", "name": "Acmé"}
CONTRACT = {"reference": "C-1", "company": "acme", "training": "T", "planned_seats": 3}


def client() -> redis.Redis:
    """Opens a client of the Redis of this test."""
    return redis.Redis.from_url(os.environ["REDIS_URL"])


SIGNED = ("portal", "kind", "version", "key", "key_id", "sent_at", "body", "signature")
"""The arguments of a message."""


@lru_cache(maxsize=1)
def _demo(_: str) -> PortalCredentials:
    return make_portal("demo")


def demo() -> PortalCredentials:
    """Returns the key of the portal `demo`, which is made when the test first asks for it."""
    return _demo(os.environ["DATABASE_URL"])


def portal_client(door: Door = "list") -> PortalClient:
    """Opens the client of the portal `demo`."""
    portal = demo()
    where = os.environ["REDIS_URL"], os.environ["REDIS_NAMESPACE"]
    names = {"portal": portal.portal, "key_id": portal.key_id, "secret": portal.secret}
    return PortalClient(where[0], namespace=where[1], door=door, **names)


def send(request: Request, key: str, *, door: Door = "list") -> str:
    """Sends a request as a portal would."""
    portal = portal_client(door)
    try:
        return portal.send(request, key=key)
    finally:
        portal.close()


def signed(fields: dict[str, Any], secret: str = "") -> dict[str, Any]:
    """Returns the fields of a message with their signature; what is no text is signed as Python writes it."""
    names = ("portal", "key_id", "kind", "version", "key", "sent_at", "body")
    covered = SignedFields(*(str(fields.get(name)) for name in names))
    made = covered._signature(secret or demo().secret) if fits(covered) else b"v1,none"
    return fields | {"signature": made.decode()}


def fits(covered: SignedFields) -> bool:
    """Tells whether these fields can be written as bytes."""
    try:
        "".join(covered).encode()
    except UnicodeEncodeError:
        return False
    return True


def arguments(body: object = None, **changes: object) -> dict[str, Any]:
    """Returns the fields of a signed request of the portal `demo`, with changes that are signed as well."""
    portal = demo()
    kwargs: dict[str, Any] = {
        "portal": portal.portal,
        "kind": "put_company",
        "version": 1,
        "key": f"key-{uuid4()}",
        "body": json.dumps({"reference": "R-1", "name": "Lorval"}) if body is None else body,
        "key_id": portal.key_id,
        "sent_at": str(int(time.time())),
    }
    return signed(kwargs | changes) | changes


def message(body: object = None, *, options: object = None, **changes: object) -> dict[str, Any]:
    """Returns a message as `accept` takes it. A change replaces the argument of that name, otherwise the
    message field.
    """
    fields: dict[str, Any] = {
        "queue_name": "requests",
        "actor_name": "accept",
        "args": [],
        "options": {} if options is None else options,
        "message_id": str(uuid4()),
        "message_timestamp": 1,
    }
    fields |= {name: value for name, value in changes.items() if name not in SIGNED}
    if "kwargs" not in fields:
        given = {name: value for name, value in changes.items() if name in SIGNED}
        fields["kwargs"] = arguments(body, **given)
    return fields


def without(name: str) -> dict[str, Any]:
    """Returns a message that lacks one argument."""
    fields = message()
    del fields["kwargs"][name]
    return fields


def unsigned(**changes: object) -> dict[str, Any]:
    """Returns a message as portals sent it before messages were signed."""
    fields = message(**changes)
    for name in ("key_id", "sent_at", "signature"):
        del fields["kwargs"][name]
    return fields


def push(data: bytes | dict[str, Any] | None, *, queue: str = "requests", key: str | None = None) -> bytes:
    """Puts bytes on a queue under a key, as dramatiq does, and returns them. None pushes a key that has no message."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    name, key = f"{os.environ['REDIS_NAMESPACE']}:{queue}", key or str(uuid4())
    with client() as opened:
        if data is not None:
            opened.hset(f"{name}.msgs", key, raw)
        opened.rpush(name, key)
    return raw


SIZES: dict[bytes, Callable[[redis.Redis, bytes], Any]] = {
    b"list": redis.Redis.llen,
    b"hash": redis.Redis.hlen,
    b"set": redis.Redis.scard,
    b"zset": redis.Redis.zcard,
    b"stream": redis.Redis.xlen,
}


def add(fields: Mapping[str, Any], *, portal: str = "demo", entry: str = "*") -> str:
    """Adds an entry to the stream of a portal; returns its identifier."""
    with client() as opened:
        return str(opened.xadd(stream(portal), entry_of(fields), id=entry).decode())


def entry_of(fields: Mapping[str, Any]) -> dict[Any, Any]:
    """Returns the fields of an entry; the portal is none of them."""
    return {name: str(value) for name, value in fields.items() if name != "portal"}


def stream(portal: str = "demo") -> str:
    """Returns the key of the stream of a portal."""
    return request_stream(os.environ["REDIS_NAMESPACE"], portal)


def left() -> dict[str, int]:
    """Returns the size of each list, payload hash, acknowledgement set and dead-letter set in Redis that
    is not empty.
    """
    kept = {}
    with client() as opened:
        for name in opened.scan_iter(f"{os.environ['REDIS_NAMESPACE']}:*"):
            kind = opened.type(name)
            # No mailer runs here, and a key may disappear between two reads. The reader of a door keeps its lease, and
            # what it notes for operators.
            kept_up = name.endswith((b":__heartbeats__", b".holder", b".at_fault")) or b":answers:" in name
            if kind == b"none" or kept_up or b":wake:" in name or b":emails" in name:
                continue
            size = int(SIZES[kind](opened, name))
            if size:  # an empty stream stays, with the last identifier that it gave
                kept[name.decode()] = size
    return kept


def problems(kind: str, body: object) -> list[tuple[Code, str]]:
    """Returns the code and the field of each problem for which a request is refused."""
    text = body if isinstance(body, str) else json.dumps(body)
    with pytest.raises(InvalidRequest) as refused:
        parse(kind, text)
    assert refused.value.code is refused.value.problems[0].code
    return [(problem.code, problem.field) for problem in refused.value.problems]


def read(kind: str, body: dict[str, Any]) -> Request:
    """Returns a request as the application parses it."""
    return parse(kind, json.dumps(body))
