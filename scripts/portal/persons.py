"""People as managers type them, and what is wrong with each, by field."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from workers.portal_client import Contract, JobPerson

DONE: Final = frozenset({"enrolled", "attached", "already_enrolled"})
"""The codes of people who are on the contract now."""

FIELDS: Final = ("email", "first_name", "last_name")
"""The fields of a form, in its order."""


class TypedPerson(NamedTuple):
    """A person as they were typed."""

    email: str
    first_name: str
    last_name: str

    @property
    def name(self) -> str:
        """The name as it is shown; the address where there is none."""
        return f"{self.first_name} {self.last_name}".strip() or self.email

    @property
    def blank(self) -> bool:
        """Whether nothing was typed."""
        return not any(self)

    def fields(self) -> Mapping[str, str]:
        """Returns the person as a request has them."""
        return self._asdict()


NOBODY: Final = TypedPerson("", "", "")


class PersonFault(NamedTuple):
    """Something that is wrong with a person.

    Parameters:
      field: `email`, `first_name`, `last_name`, or another column of a file; empty when no field is wrong.
      reason: the key of the sentence that says what is wrong, below `adding.fault`; empty where the code says it.
      cure: the key of the sentence that says what to do, below `adding.cure`; empty where the code says all.
      values: what the cure mentions.
    """

    field: str
    code: str
    reason: str = ""
    cure: str = ""
    values: Mapping[str, Any] = {}


def faults_of(
    code: str,
    field: str | None,
    detail: Mapping[str, Any] | None,
    email: str | None,
    people: Sequence[TypedPerson] = (),
) -> Sequence[PersonFault]:
    """Returns everything that is wrong with a refused person.

    Parameters:
      email: the address as it was typed; None when it is not known any more.
      people: all people of the form, so that another one with the same address is named.
    """
    told = detail or {}
    found = told.get("faults") or [{"code": code, "field": field or ""}]
    faults = [_fault(str(one.get("field", "")), str(one["code"]), email) for one in found]
    return [_with_earlier(one, told, people) if one.code == "duplicate_in_file" else one for one in faults]


def faults_of_person(person: JobPerson, typed: TypedPerson, people: Sequence[TypedPerson]) -> Sequence[PersonFault]:
    """Returns everything that is wrong with a person of a form."""
    return faults_of(person.code, person.field, person.detail, typed.email, people)


def _fault(field: str, code: str, email: str | None) -> PersonFault:
    if field not in (*FIELDS, "locale", "external_id"):
        field = ""
    fault = PersonFault(field, code)
    if code == "invalid_email":
        cure, values = ("email.other", {}) if email is None else email_cure(email)
        return fault._replace(reason=code, cure=cure, values=values)
    if code in ("missing_email", "missing_name"):
        return fault._replace(reason=f"missing_{field}" if field in FIELDS else code, cure=code)
    if code == "no_seat_left":
        return fault._replace(reason=code)
    return fault._replace(cure=code if code == "not_carried_out" else "")


def _with_earlier(fault: PersonFault, told: Mapping[str, Any], people: Sequence[TypedPerson]) -> PersonFault:
    """Names the earlier line of a file, or the earlier person of a form."""
    if isinstance(line := told.get("earlier_line"), int):
        return fault._replace(reason="duplicate", cure="earlier_line", values={"line": line})
    if isinstance(position := told.get("earlier_position"), int) and position < len(people) and people[position].name:
        return fault._replace(reason="duplicate", cure="earlier_person", values={"name": people[position].name})
    return fault


def email_cure(email: str) -> tuple[str, Mapping[str, Any]]:
    """Returns the key of the sentence that says what is wrong with an address, and what it mentions.

    It is only help: whether an address is valid is decided by Matricule.
    """
    local, at, domain = email.partition("@")
    causes = {
        "email.space": any(one.isspace() for one in email.strip()),
        "email.comma": "," in email or ";" in email,
        "email.no_at": not at,
        "email.two_ats": "@" in domain,
        "email.no_name": not local,
        "email.no_domain": not domain,
        "email.no_end": "." not in domain.strip("."),
        "email.other": True,
    }
    cure = next(name for name, found in causes.items() if found)
    return cure, {"domain": domain.strip(".")[:60]} if cure == "email.no_end" else {}


def wrong_part(fault: PersonFault, email: str) -> tuple[str, str]:
    """Splits an address into the part that is right and the part that is wrong."""
    if fault.cure in ("email.no_end", "email.two_ats"):
        local, at, domain = email.partition("@")
        return local + at, domain
    return "", email


def closed_because(contract: Contract, today: date) -> str | None:
    """Returns why a contract takes no further people: `contract_expired`, `contract_not_started`, or None."""
    if contract.ends_on is not None and contract.ends_on < today:
        return "contract_expired"
    if contract.starts_on is not None and contract.starts_on > today:
        return "contract_not_started"
    return None
