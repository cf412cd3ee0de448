"""Marks on the fields of requests that tell exports and erasures which personal data a field holds.

A test refuses a text, an identifier, a number or a date without a mark, so that a new request cannot keep a person's
address, name or date of birth where an erasure does not look.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class Personal(StrEnum):
    """The marks. A request with one of the first three identifies a person."""

    ADDRESS = "address"  # the person's, or where they receive a file: searched, shown to them, blanked by an erasure
    NAME = "name"  # their name, or the company's number for them: shown and blanked
    PEOPLE = "people"  # one row per person: each person is shown their own row, and an erasure blanks only that
    ENROLLMENT = "enrollment"  # the request is about the account of this enrollment
    ACCOUNT = "account"  # the request is about this account
    SEVERAL = "several"  # enrollments of several people, chosen by a manager: not shown to them, and kept
    CONTACT = "contact"  # a manager or signatory in their office: not searched
    NOTHING = "nothing"  # no person: a reference, a title, a picture, a reason without a name


TELLING: Final = frozenset({Personal.ADDRESS, Personal.NAME, Personal.PEOPLE})
"""Marks of the fields that identify a person."""


@cache
def marks_of(request: type[BaseModel]) -> Mapping[str, Personal | None]:
    """Returns the mark of each field, None for a field without one."""
    return {name: _mark(field) for name, field in request.model_fields.items()}


def speaks_of_a_person(request: type[BaseModel]) -> bool:
    """Tells whether a request identifies a person, so that their export shows it and their erasure blanks it."""
    return not TELLING.isdisjoint(marks_of(request).values())


def _mark(field: FieldInfo) -> Personal | None:
    """Returns the last mark on the field itself, or else on its type."""
    return next(_reversed_marks((*_written_in(field.annotation), *field.metadata)), None)


def _written_in(annotation: Any) -> Iterator[Any]:
    """Yields the annotations of a type and of the types it contains, the innermost first."""
    for part in get_args(annotation):
        yield from _written_in(part)
    if get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]


def _reversed_marks(written: Iterable[Any]) -> Iterator[Personal]:
    return (mark for mark in reversed(tuple(written)) if isinstance(mark, Personal))
