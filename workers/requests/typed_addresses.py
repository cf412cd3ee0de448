"""Finds the addresses of people that were typed in a request, or in a message that could not be read as one."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from workers.requests.base import Request
from workers.requests.personal import Personal, marks_of

MOST_ADDRESSES: Final = 1_000
"""Addresses are kept of requests about so many people at most: a larger roster would cost a row for each of them."""

_IN_A_MESSAGE: Final = re.compile(rb"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")


@cache
def _fields(kind: type[Request]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the fields of a kind that hold an address, and those that hold a list of people."""
    marks = marks_of(kind)
    return _marked(marks, Personal.ADDRESS), _marked(marks, Personal.PEOPLE)


def _marked(marks: Mapping[str, Personal | None], wanted: Personal) -> tuple[str, ...]:
    return tuple(name for name, mark in marks.items() if mark is wanted)


def typed_addresses(request: Request) -> set[str]:
    """Returns the addresses of people in a request, as they were typed; none of a request about too many people."""
    alone, people = _fields(type(request))
    found = {value for name in alone if isinstance(value := getattr(request, name), str)}
    for name in people:
        rows = getattr(request, name) or ()
        if len(rows) > MOST_ADDRESSES:
            return set()
        found |= {email for row in rows if isinstance(email := getattr(row, "email", None), str)}
    return found - {""}


def addresses_in(message: bytes) -> set[str]:
    """Returns what looks like an address in a message that could not be read, as far as it is plain."""
    found: set[str] = set()
    for match in _IN_A_MESSAGE.finditer(message):
        found.add(match.group().decode("ascii"))
        if len(found) == MOST_ADDRESSES:
            break
    return found


__all__ = ["MOST_ADDRESSES", "addresses_in", "typed_addresses"]
