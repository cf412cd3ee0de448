"""Tells of one job: what was asked, its attempts, its mails, and its neighbours (its people: ``job_people.py``)."""

import json
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.database import Session
from workers.ops.capped import read_by_index
from workers.requests.enrollment import Enroll
from workers.requests.personal import Personal, marks_of
from workers.requests.registry import KINDS
from workers.sql import fetch, fetch_one

MOST_MAILS: Final = 20
"""Mails of a job that are listed."""

NEIGHBOURS: Final = 5
"""Jobs of a lane that are listed, the job itself among them or not."""

OWED_LOOKED_AT: Final = 500
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
    "asked_fields",
    "contract_of",
    "list_lane",
    "list_mails_of_job",
    "people_of",
    "read_attempts",
    "read_job",
    "read_json",
]
