"""What a field of a request says of a person: the mark each field carries, for exports and erasures to go by.

A text or an identifier without a mark is refused by a test, so a new request cannot keep somebody's address or name
where an erasure does not look.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class Personal(StrEnum):
    """The marks. A request that has one of the first three speaks of a person."""

    ADDRESS = "address"  # theirs, or where they get what was asked: looked for, shown to them, blanked by an erasure
    NAME = "name"  # what they are called, or the number their company has for them: shown and blanked
    PEOPLE = "people"  # rows of a person each: everybody is shown their own, which alone is blanked
    ENROLLMENT = "enrollment"  # says whose the request is, when it is one of their account
    ACCOUNT = "account"  # says whose the request is
    SEVERAL = "several"  # enrollments of several people, which others asked for: shown to none of them, and kept
    CONTACT = "contact"  # somebody in their office: where a company is written to, who signs; not looked for
    NOTHING = "nothing"  # no person: a reference, a title, a picture, a reason without a name


TELLING: Final = frozenset({Personal.ADDRESS, Personal.NAME, Personal.PEOPLE})
"""What tells who somebody is."""


@cache
def marks_of(request: type[BaseModel]) -> Mapping[str, Personal | None]:
    """The mark of each field; None where there is none."""
    return {name: _mark(field) for name, field in request.model_fields.items()}


def speaks_of_a_person(request: type[BaseModel]) -> bool:
    """Whether a request tells who somebody is, so that it belongs in their export and ends with their erasure."""
    return not TELLING.isdisjoint(marks_of(request).values())


def _mark(field: FieldInfo) -> Personal | None:
    """The last one that was written on the field, or else on its type."""
    return next(_reversed_marks((*_written_in(field.annotation), *field.metadata)), None)


def _written_in(annotation: Any) -> Iterator[Any]:
    """Everything that is written on a type and on the types it is made of, the innermost first."""
    for part in get_args(annotation):
        yield from _written_in(part)
    if get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]


def _reversed_marks(written: Iterable[Any]) -> Iterator[Personal]:
    return (mark for mark in reversed(tuple(written)) if isinstance(mark, Personal))
