"""Makes requests from what a portal's program gives: identifiers and times as objects or as text, people as dicts."""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from models.words import Code
from workers.errors import InvalidRequest, Problem
from workers.portal_client.messages import HALF_PAIR, texts_of
from workers.requests.base import Request, problems_of

RequestType = TypeVar("RequestType", bound=Request)


def build(shape: type[RequestType], fields: Mapping[str, object]) -> RequestType:
    """Makes a request of its fields; those that are not given are not sent, which may mean "unchanged".

    Raises: InvalidRequest, naming every wrong field. Matricule would refuse a wrong person of a list alone; a program
    is told at once, where it made the mistake.
    """
    try:
        text = json.dumps(fields, default=_plain, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise InvalidRequest(Problem(Code.INVALID_REQUEST, "", "NaN and infinity are no JSON")) from None
    if HALF_PAIR.search(text):
        raise InvalidRequest(*_half_pairs(json.loads(text)))
    try:
        return shape.model_validate_json(text)
    except ValidationError as error:
        raise InvalidRequest(*problems_of(error)) from None


def _plain(value: object) -> Any:
    """Returns a value as JSON has it.

    Raises: TypeError.
    """
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, date):  # a datetime is one
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return list(value)
    raise TypeError(f"a request holds no {type(value).__name__}")


def _half_pairs(fields: Any) -> list[Problem]:
    detail = "half of a surrogate pair: cut inside a character"
    return [Problem(Code.UNSAFE_VALUE, field, detail) for field, text in texts_of(fields) if HALF_PAIR.search(text)]
