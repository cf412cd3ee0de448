"""Tells portals that their jobs have ended: ``job.finished`` and, for an import, ``roster.finished``.

Every way in which a row of `job` gets a final state comes by here: done, refused, cancelled, dead, and a message that
was refused. Jobs that Matricule makes itself are told to no portal.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.words import WebhookEvent
from workers.database import Session, array
from workers.engine.events import Event, defer
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.requests.imports import ImportRoster
from workers.requests.registry import KINDS
from workers.sql import fetch

TYPES: Final = (WebhookEvent.JOB_FINISHED, WebhookEvent.ROSTER_FINISHED)

TOLD: Final = (
    *("code", "field", "counts", "seats", "carried_out", "dry_run", "planned_seats", "enrolled_count", "remaining"),
    *("rows", "rows_done", "certificate_id", "number", "replaces", "from"),
)
"""The parts of a job's result that are told. What else a result holds may speak of a person, and is read elsewhere."""

TOLD_OF_PERSON: Final = ("position", "code", "field", "account_id", "enrollment_id")

# Jobs that have ended in this transaction, with the first key that they were sent under. A job that another process
# took back and ended has the time of that transaction. Keys are looked up by their job alone: with the portal besides,
# the planner might read all keys of the portal for each job.
READ_FINISHED_JOBS = text("""
    SELECT j.id, j.portal_id, j.kind, j.state, CAST(j.result AS text) AS result, CAST(j.error AS text) AS error,
      (SELECT i.key FROM idempotency i WHERE i.job_id = j.id ORDER BY i.created_at LIMIT 1) AS key
    FROM job j WHERE j.id = ANY(CAST(:jobs AS uuid[])) AND j.finished_at = now()""")


class _FinishedJob(NamedTuple):
    id: UUID
    portal_id: UUID
    kind: str
    state: str
    result: str | None
    error: str | None
    key: str | None


def tell_finished(session: Session, rows: Sequence[ClaimedRow], outcomes: Sequence[WorkOutcome]) -> None:
    """Owes the end of the claimed jobs among these that have an outcome."""
    ended = {outcome.id for outcome in outcomes}
    told = [row for row in rows if row.id in ended and _is_portals(row.columns.kind)]
    if told:
        defer(session, {row.columns.portal_id for row in told}, TYPES, _finder([row.id for row in told]))


def tell_refused(session: Session, portal_id: UUID, job_id: UUID) -> None:
    """Owes the end of a job that was recorded as refused, because its message cannot be done."""
    defer(session, {portal_id}, TYPES, _finder([job_id]))


def tell_ended(session: Session, jobs: Collection[UUID]) -> None:
    """Owes the end of jobs of which only the identifiers are known; of those that have not ended nothing is told."""
    if jobs:
        defer(session, None, TYPES, _finder(jobs))


def _is_portals(kind: str) -> bool:
    """Tells whether portals ask for jobs of this kind."""
    request = KINDS.get(kind)
    return request is None or not request.internal


def _finder(jobs: Collection[UUID]) -> Callable[[Session], Iterable[Event]]:
    def find(session: Session) -> Iterable[Event]:
        found = {row.id: row for row in fetch(session, _FinishedJob, READ_FINISHED_JOBS, {"jobs": array(jobs)})}
        return [event for job in jobs if job in found for event in _events(found[job])]

    return find


def _events(job: _FinishedJob) -> list[Event]:
    if not _is_portals(job.kind):
        return []
    types = TYPES if job.kind == ImportRoster.kind else TYPES[:1]
    data = {"job_id": str(job.id), "key": job.key, "kind": job.kind, "state": job.state, **_told(job)}
    return [Event(job.portal_id, told, f"job:{job.id}", data) for told in types]


def _told(job: _FinishedJob) -> dict[str, Any]:
    """Returns the codes, counters and identifiers of a job's result, or of the error with which it was refused."""
    given: Mapping[str, Any] = json.loads(job.result or job.error or "{}")
    told = {name: given[name] for name in TOLD if name in given}
    people = [{name: person[name] for name in TOLD_OF_PERSON if name in person} for person in given.get("people", ())]
    return told | ({"people": people} if people else {})
