"""The tests of the `requests` queue use these: correct messages, and everything else that may arrive on a queue."""

import json
import os
from typing import Any
from uuid import uuid4

import pytest
import redis

from models.words import Code
from workers.errors import InvalidRequest
from workers.portal_client import PortalClient
from workers.requests.base import Request
from workers.requests.registry import parse

PERSON = {"email": "a@example.com", "first_name": "Zoé", "last_name": "Le Dû"}
ENROLL = {"contract": "C-1", "people": [PERSON]}
COMPANY = {"reference": "acme", "name": "Acmé"}
CONTRACT = {"reference": "C-1", "company": "acme", "training": "T", "planned_seats": 3}


def client() -> redis.Redis:
    """Opens a client of the Redis of this test."""
    return redis.Redis.from_url(os.environ["REDIS_URL"])


def send(request: Request, key: str) -> str:
    """Sends a request as a portal would."""
    portal = PortalClient(os.environ["REDIS_URL"], namespace=os.environ["REDIS_NAMESPACE"])
    try:
        return portal.send(request, key=key)
    finally:
        portal.close()


def message(body: object = None, *, options: object = None, **changes: object) -> dict[str, Any]:
    """Returns a message as `accept` takes it. A change replaces the argument of that name, otherwise the
    message field.
    """
    kwargs = {"portal": "local", "kind": "put_company", "version": 1, "key": f"key-{uuid4()}", "body": body}
    if body is None:
        kwargs["body"] = json.dumps({"reference": "R-1", "name": "Lorval"})
    fields: dict[str, Any] = {
        "queue_name": "requests",
        "actor_name": "accept",
        "args": [],
        "options": {} if options is None else options,
        "message_id": str(uuid4()),
        "message_timestamp": 1,
    }
    fields |= {name: value for name, value in changes.items() if name not in kwargs}
    fields.setdefault("kwargs", kwargs | {name: value for name, value in changes.items() if name in kwargs})
    return fields


def without(name: str) -> dict[str, Any]:
    """Returns a message that lacks one argument."""
    fields = message()
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
            kept_up = name.endswith((b":__heartbeats__", b".holder", b".at_fault"))
            if kind == b"none" or kept_up or b":wake:" in name or b":emails" in name:
                continue
            size = {b"list": opened.llen, b"hash": opened.hlen, b"set": opened.scard, b"zset": opened.zcard}[kind]
            kept[name.decode()] = int(size(name))
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
