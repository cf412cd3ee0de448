"""Tells of one job: what was asked, its attempts, the results of its people, its mails, and its neighbours."""

import json
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.database import Session, array
from workers.ops.capped import read_by_index
from workers.requests.enrollment import Enroll
from workers.requests.personal import Personal, marks_of
from workers.requests.registry import KINDS
from workers.sql import fetch, fetch_one

PEOPLE: Final = 25
"""People of one page."""

MOST_MAILS: Final = 20
"""Mails of a job that are listed."""

NEIGHBOURS: Final = 5
"""Jobs of a lane that are listed, the job itself among them or not."""

OWED_LOOKED_AT: Final = 2_000
"""Owed mails of each queue that are looked at, those due last: mails of a job that has just ended are among them."""

# Reads a job with its portal, its key and the process that claimed it last.
READ_JOB: Final = text("""
    SELECT j.id, p.name AS portal, j.portal_id, j.kind, j.queue, j.lane, j.sequence_number, j.state, j.claim,
      j.failures, j.rescues, j.position, j.requested_by, j.created_at, j.started_at, j.finished_at, j.due_at,
      j.leased_until, j.dismissed_at, j.trouble, CAST(j.request AS text) AS request, j.result, j.error, pr.host, pr.pid,
      (SELECT i.key FROM idempotency i WHERE i.job_id = j.id LIMIT 1) AS key
    FROM job j JOIN portal p ON p.id = j.portal_id LEFT JOIN process pr ON pr.id = j.worker WHERE j.id = :id""")

# Reads the attempts at a job or a mail that failed, the oldest first.
READ_ATTEMPTS: Final = text("""
    SELECT a.claim, a.outcome, a.error, a.created_at, a.times, a.last_at, pr.host, pr.pid
    FROM job_attempt a LEFT JOIN process pr ON pr.id = a.worker WHERE a.row_id = :id ORDER BY a.id LIMIT 100""")

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

# Lists the mails that a job owed: those that ended by an index, the others among those due last.
LIST_MAILS: Final = text("""
    SELECT m.id, m.kind, m.state, m.to_address, m.created_at, m.finished_at, m.due_at FROM (
      (SELECT * FROM email e WHERE e.job_id = :job AND e.job_id IS NOT NULL AND e.finished_at IS NOT NULL
        ORDER BY e.id LIMIT :limit)
      UNION ALL
      (SELECT w.* FROM unnest(CAST(:queues AS text[])) q (queue) CROSS JOIN LATERAL (
          SELECT * FROM email e WHERE e.queue = q.queue AND e.due_at IS NOT NULL AND e.leased_until IS NULL
            AND e.claim >= 0
          ORDER BY e.due_at DESC LIMIT CAST(:looked_at AS bigint)) w
        WHERE w.job_id = :job LIMIT :limit)
      UNION ALL
      (SELECT r.* FROM unnest(CAST(:queues AS text[])) q (queue) CROSS JOIN LATERAL (
          SELECT * FROM email e WHERE e.queue = q.queue AND e.leased_until IS NOT NULL LIMIT 1000) r
        WHERE r.job_id = :job LIMIT :limit)) m
    ORDER BY m.id LIMIT :limit""")

# Lists what is being done and what waits in a lane, in its order.
LIST_LANE: Final = text("""
    SELECT n.id, n.kind, n.state, n.due_at, n.leased_until IS NOT NULL AS running FROM (
      (SELECT * FROM job r WHERE r.queue = :queue AND r.lane = :lane AND r.leased_until IS NOT NULL LIMIT :limit)
      UNION ALL
      (SELECT * FROM job w WHERE w.queue = :queue AND w.lane = :lane AND w.due_at IS NOT NULL
         AND w.leased_until IS NULL ORDER BY w.sequence_number LIMIT :limit)) n
    ORDER BY running DESC, n.sequence_number LIMIT :limit""")


class JobFacts(NamedTuple):
    """A job with all that was recorded of it.

    Parameters:
      request: the JSON as it was sent; None once it is no longer kept.
      host, pid: the process that claimed it last, if that is known still.
      key: the idempotency key of its portal.
    """

    id: UUID
    portal: str
    portal_id: UUID
    kind: str
    queue: str
    lane: UUID
    sequence_number: int
    state: str
    claim: int
    failures: int
    rescues: int
    position: int
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    leased_until: datetime | None
    dismissed_at: datetime | None
    trouble: str | None
    request: str | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    host: str | None
    pid: int | None
    key: str | None


class AttemptFacts(NamedTuple):
    """An attempt that did not succeed, or a run of equal postponements, and the process that made it."""

    claim: int
    outcome: str
    error: dict[str, Any] | None
    created_at: datetime
    times: int
    last_at: datetime | None
    host: str | None
    pid: int | None


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


class OwedMailFacts(NamedTuple):
    """A mail that a job owed."""

    id: UUID
    kind: str
    state: str
    to_address: str
    created_at: datetime
    finished_at: datetime | None
    due_at: datetime | None


class LaneJob(NamedTuple):
    """A job that is being done or waits in a lane."""

    id: UUID
    kind: str
    state: str
    due_at: datetime | None
    running: bool


class _KnownAddress(NamedTuple):
    id: UUID
    email: str


class AskedField(NamedTuple):
    """A field of a request as it may be shown: a personal value is to be masked."""

    name: str
    value: str
    personal: bool


def read_job(session: Session, job_id: UUID) -> JobFacts | None:
    """Reads a job; None when there is none with this identifier."""
    read_by_index(session)
    return fetch_one(session, JobFacts, READ_JOB, {"id": job_id})


def read_attempts(session: Session, row_id: UUID) -> list[AttemptFacts]:
    """Reads the attempts at a job or a mail that failed, the oldest first; a hundred at most."""
    return fetch(session, AttemptFacts, READ_ATTEMPTS, {"id": row_id})


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


def find_typed_address(session: Session, job_id: UUID, place: int) -> str | None:
    """Finds the address of the person at a place of a job: that of the account, or else as it was typed."""
    job = read_job(session, job_id)
    if job is None:
        return None
    found = next((one for one in list_people(session, job, first=place).people if one.position == place), None)
    return (found.email if found else None) or typed_addresses(job.request).get(place)


def read_json(request: str | None) -> dict[str, Any]:
    """Returns a stored request; empty when it is no longer kept, or is no object."""
    read = json.loads(request) if request else {}
    return read if isinstance(read, dict) else {}


def list_mails_of_job(session: Session, job_id: UUID) -> list[OwedMailFacts]:
    """Lists the mails that a job owed, the oldest first."""
    asked = {"job": job_id, "limit": MOST_MAILS, "looked_at": OWED_LOOKED_AT, "queues": ["emails", "emails_bulk"]}
    return fetch(session, OwedMailFacts, LIST_MAILS, asked)


def list_lane(session: Session, job: JobFacts) -> list[LaneJob]:
    """Lists what is being done and what waits in the lane of a job, in its order."""
    return fetch(session, LaneJob, LIST_LANE, {"queue": job.queue, "lane": job.lane, "limit": NEIGHBOURS})


NOT_MASKED: Final = frozenset({Personal.NOTHING, Personal.ENROLLMENT, Personal.ACCOUNT, Personal.SEVERAL})
"""Marks of fields that hold identifiers and plain values."""

LONGEST: Final = 300
"""Characters of a field that are shown."""


def asked_fields(kind: str, request: str | None) -> list[AskedField]:
    """Returns the fields of a request; of people only their number, and a field without a known mark is personal."""
    marks = marks_of(KINDS[kind]) if kind in KINDS else {}
    return [_field(name, value, marks.get(name)) for name, value in read_json(request).items()]


def _field(name: str, value: object, mark: Personal | None) -> AskedField:
    if isinstance(value, list) and (mark in (Personal.PEOPLE, Personal.SEVERAL) or len(value) > 3):
        return AskedField(name, str(len(value)), personal=False)
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    plain = isinstance(value, bool | int | float | None) or (mark in NOT_MASKED and "@" not in said)
    return AskedField(name, said[:LONGEST], personal=not plain)


def contract_of(job: JobFacts) -> str | None:
    """Returns the portal's reference of the contract that a job is about, if its request names one."""
    said = read_json(job.request).get("contract")
    return said if isinstance(said, str) else None


def people_of(job: JobFacts) -> int:
    """Returns the number of people whom a job is about, as far as its request tells; 0 when it does not."""
    people = read_json(job.request).get("people" if job.kind == Enroll.kind else "enrollment_ids")
    return len(people) if isinstance(people, list) else 0


__all__ = [
    "AskedField",
    "AttemptFacts",
    "JobFacts",
    "LaneJob",
    "OwedMailFacts",
    "PeoplePage",
    "PersonResult",
    "asked_fields",
    "contract_of",
    "find_typed_address",
    "list_lane",
    "list_mails_of_job",
    "list_people",
    "people_of",
    "read_attempts",
    "read_job",
    "read_json",
    "typed_addresses",
]
