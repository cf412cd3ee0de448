"""Lists the people of a job page by page, with the result of each and the last mail about it."""

from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.database import Session, array
from workers.ops.job_story import JobFacts, read_job, read_json
from workers.sql import fetch

PEOPLE: Final = 25
"""People of one page."""

# Lists the results of a page of the people of a job, with the address of the account and its last mail.
LIST_PEOPLE: Final = text("""
    SELECT pe.position, pe.code, pe.field, pe.account_id, pe.enrollment_id, pe.detail, a.email_norm AS email,
      m.id AS mail_id, m.kind AS mail_kind, m.state AS mail_state
    FROM (
      SELECT * FROM job_person r WHERE r.job_id = :job AND r.position >= :first ORDER BY r.position LIMIT :limit) pe
    LEFT JOIN account a ON a.id = pe.account_id
    LEFT JOIN LATERAL (
      SELECT e.id, e.kind, e.state FROM email e
      WHERE e.account_id = pe.account_id AND e.enrollment_id = pe.enrollment_id
      ORDER BY e.created_at DESC LIMIT 1) m ON true
    ORDER BY pe.position""")

# Reads the address of accounts.
READ_ADDRESSES: Final = text("""
    SELECT a.id, a.email_norm AS email FROM account a WHERE a.id = ANY(CAST(:accounts AS uuid[]))""")


class PersonResult(NamedTuple):
    """The result of one person of a job.

    Parameters:
      position: the place in the request, from 0.
      email: the address of the account, or else as the request had it.
    """

    position: int
    code: str
    field: str | None
    account_id: UUID | None
    enrollment_id: UUID | None
    detail: dict[str, Any] | None
    email: str | None
    mail_id: UUID | None
    mail_kind: str | None
    mail_state: str | None


class PeoplePage(NamedTuple):
    """A page of the people of a job; `next` is the position with which the next page begins, if there is one."""

    people: list[PersonResult]
    next: int | None


class _KnownAddress(NamedTuple):
    id: UUID
    email: str


def list_people(session: Session, job: JobFacts, *, first: int = 0) -> PeoplePage:
    """Lists the results of a page of the people of a job, in the order of its request."""
    typed = typed_addresses(job.request)
    inline = (job.result or {}).get("people")
    if isinstance(inline, list) and inline:
        found = _inline(session, inline[first : first + PEOPLE + 1])
    else:
        found = fetch(session, PersonResult, LIST_PEOPLE, {"job": job.id, "first": first, "limit": PEOPLE + 1})
    if not found:  # nothing was decided yet: the people as they were typed
        later = [place for place in sorted(typed) if place >= first][: PEOPLE + 1]
        found = [PersonResult(place, "", None, None, None, None, typed[place], None, None, None) for place in later]
    shown = [one._replace(email=one.email or typed.get(one.position)) for one in found[:PEOPLE]]
    return PeoplePage(shown, found[PEOPLE].position if len(found) > PEOPLE else None)


def _inline(session: Session, people: list[dict[str, Any]]) -> list[PersonResult]:
    """Returns the results that a small job has in itself."""
    accounts = {UUID(one["account_id"]) for one in people if one.get("account_id")}
    known = {}
    if accounts:
        rows = fetch(session, _KnownAddress, READ_ADDRESSES, {"accounts": array(accounts)})
        known = {row.id: row.email for row in rows}
    return [_person(one, known) for one in people]


def _person(one: dict[str, Any], known: dict[UUID, str]) -> PersonResult:
    account = UUID(one["account_id"]) if one.get("account_id") else None
    enrollment = UUID(one["enrollment_id"]) if one.get("enrollment_id") else None
    email = known.get(account) if account else None
    told = (one.get("position", 0), str(one.get("code", "")), one.get("field"), account, enrollment, one.get("detail"))
    return PersonResult(*told, email, None, None, None)


def typed_addresses(request: str | None) -> dict[int, str]:
    """Returns the addresses of a request to enrol people, as they were typed, by position."""
    people = read_json(request).get("people")
    if not isinstance(people, list):
        return {}
    rows = ((place, row.get("email", "") if isinstance(row, dict) else row) for place, row in enumerate(people))
    return {place: said for place, said in rows if isinstance(said, str) and said}


class FoundAddress(NamedTuple):
    """The address of a person of a job; `account_id` is None when it was only typed."""

    email: str
    account_id: UUID | None


def find_typed_address(session: Session, job_id: UUID, place: int) -> FoundAddress | None:
    """Finds the address of the person at a place of a job: that of the account, or else as it was typed."""
    job = read_job(session, job_id)
    if job is None:
        return None
    found = next((one for one in list_people(session, job, first=place).people if one.position == place), None)
    email = (found.email if found else None) or typed_addresses(job.request).get(place)
    return FoundAddress(email, found.account_id if found else None) if email else None


__all__ = ["FoundAddress", "PeoplePage", "PersonResult", "find_typed_address", "list_people", "typed_addresses"]
