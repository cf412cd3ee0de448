"""Every request marks its fields about a person; an unmarked field would be missing in exports and survive erasures."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, get_args
from uuid import UUID

from pydantic import BaseModel

from workers.requests.base import Address, ContactAddress, Label, PersonAddress, Reference, Request
from workers.requests.personal import Personal, marks_of, speaks_of_a_person
from workers.requests.registry import KINDS

SPEAKING = {
    *("enroll", "request_password_reset", "correct_email", "correct_email_by_ops", "export_person", "erase_person"),
    *("duplicate_certificates", "correct_certificate", "correct_name", "correct_name_by_ops"),
}


TELLING_TYPES = {str, UUID, int, float, date, datetime}
"""Types of fields that may identify a person."""


def _is_type(part: object) -> bool:
    return isinstance(part, type)


def parts(annotation: Any) -> Iterator[Any]:
    """Yields a type, its parts, and their annotations."""
    yield annotation
    for part in get_args(annotation):
        yield from parts(part)


def models(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yields the model of a request and the models of its rows."""
    yield kind
    for field in kind.model_fields.values():
        for part in parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from models(part)


def problems(kind: type[BaseModel]) -> list[str]:
    """Lists the fields that may identify a person and have no mark, or a wrong one."""
    found = []
    for model in models(kind):
        marks = marks_of(model)
        for name, field in model.model_fields.items():
            made_of = list(parts(field.annotation))
            rows = any(isinstance(part, type) and issubclass(part, BaseModel) for part in made_of)
            is_address = "email" in name or get_args(Address)[1] in [*made_of, *field.metadata]
            if (rows or not TELLING_TYPES.isdisjoint(filter(_is_type, made_of))) and marks[name] is None:
                found.append(f"{model.__name__}.{name} has no mark of workers/requests/personal.py")
            elif is_address and marks[name] not in (Personal.ADDRESS, Personal.CONTACT):
                found.append(f"{model.__name__}.{name} is an address, and marked as {marks[name]}")
            elif name in ("first_name", "last_name") and marks[name] is not Personal.NAME:
                found.append(f"{model.__name__}.{name} is a name, and marked as {marks[name]}")
    return found


def test_every_field_is_marked_as_personal_or_not() -> None:
    assert [problem for request in KINDS.values() for problem in problems(request)] == []


def test_the_requests_that_speak_of_a_person() -> None:
    speaking = {kind for kind, request in KINDS.items() if speaks_of_a_person(request)}
    assert speaking == SPEAKING, "add the kind to SPEAKING once its export and its erasure are right"


def test_every_request_about_a_person_identifies_the_person() -> None:
    telling_whose = {Personal.ADDRESS, Personal.ENROLLMENT, Personal.ACCOUNT, Personal.PEOPLE}
    for kind in SPEAKING:
        assert telling_whose & set(marks_of(KINDS[kind]).values()), kind


class _Row(BaseModel):
    email: str


class _Forgetful(Request):
    kind: ClassVar[str] = "forgetful"

    email: Address
    rows: list[_Row]
    nickname: str | None = None
    born_on: date | None = None
    number: int
    account: UUID
    deliver_to: Annotated[Address, Personal.NOTHING]
    first_name: Label


class _Careful(Request):
    kind: ClassVar[str] = "careful"

    email: PersonAddress | None = None
    report_to: Annotated[ContactAddress | None, "said"] = None
    titles: list[Label]
    reference: Reference | None = None
    deliver_to: Annotated[list[PersonAddress], Personal.CONTACT]


def test_a_field_without_a_mark_is_reported() -> None:
    assert problems(_Forgetful) == [
        "_Forgetful.email has no mark of workers/requests/personal.py",
        "_Forgetful.rows has no mark of workers/requests/personal.py",
        "_Forgetful.nickname has no mark of workers/requests/personal.py",
        "_Forgetful.born_on has no mark of workers/requests/personal.py",
        "_Forgetful.number has no mark of workers/requests/personal.py",
        "_Forgetful.account has no mark of workers/requests/personal.py",
        "_Forgetful.deliver_to is an address, and marked as nothing",
        "_Forgetful.first_name is a name, and marked as nothing",
        "_Row.email has no mark of workers/requests/personal.py",
    ]


def test_a_mark_is_read_wherever_it_is_written() -> None:
    assert problems(_Careful) == []
    assert marks_of(_Careful) == {
        "requested_by": Personal.NOTHING,
        "email": Personal.ADDRESS,
        "report_to": Personal.CONTACT,
        "titles": Personal.NOTHING,
        "reference": Personal.NOTHING,
        "deliver_to": Personal.CONTACT,
    }
