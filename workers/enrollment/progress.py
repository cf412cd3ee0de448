"""Recording progress: what the LMS saw, folded into each enrollment, and the certificate a first completion owes.

Lock order: job rows, enrollments by id. Contracts are only read: no seat moves.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.enrollment import (
    HEARD_CODES,
    KnownProgress,
    LearningEvent,
    record_events,
)
from models.words import Code, JobState, Progress
from workers.audit import AuditChange, record_all
from workers.database import Session, wait_briefly_for_locks
from workers.engine.acceptance import OwedJob, owe_jobs
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, one_or_none, record_people
from workers.requests.enrollment import ProgressEvent, RecordProgress
from workers.requests.internal import IssueCertificate
from workers.requests.registry import parse

LOCK_ENROLLMENTS = text("""
    SELECT e.id, c.portal_id, e.account_id, e.progress, e.started_at, e.completed_at, e.progress_at, e.score,
      e.scored_at, e.time_spent_seconds, e.withdrawn_at, e.detached_at, now() AS now
    FROM unnest(CAST(:portals AS uuid[]), CAST(:ids AS uuid[])) m (portal_id, id)
    JOIN enrollment e ON e.id = m.id JOIN contract c ON c.id = e.contract_id AND c.portal_id = m.portal_id
    ORDER BY e.id FOR NO KEY UPDATE OF e""")

UPDATE_PROGRESS = text("""
    UPDATE enrollment e SET progress = t.progress, started_at = t.started_at, completed_at = t.completed_at,
      progress_at = t.progress_at, score = t.score, scored_at = t.scored_at, time_spent_seconds = t.time_spent_seconds
    FROM unnest(CAST(:ids AS uuid[]), CAST(:progress AS text[]), CAST(:started_at AS timestamptz[]),
      CAST(:completed_at AS timestamptz[]), CAST(:progress_at AS timestamptz[]), CAST(:score AS float8[]),
      CAST(:scored_at AS timestamptz[]), CAST(:time_spent_seconds AS int[]))
      t (id, progress, started_at, completed_at, progress_at, score, scored_at, time_spent_seconds)
    WHERE e.id = t.id AND e.withdrawn_at IS NULL AND e.detached_at IS NULL""")


class _EventPosition(NamedTuple):
    """Where an event stands: its job in the batch, its position in the request."""

    job: int
    position: int


@dataclass(slots=True)
class _ProgressJob:
    row: ClaimedRow
    request: RecordProgress
    people: dict[int, PersonResult] = field(default_factory=dict)  # by position

    @property
    def portal_id(self) -> UUID:
        return cast("UUID", self.row.columns["portal_id"])

    @property
    def results(self) -> list[PersonResult]:
        """In the order of the request."""
        return [self.people[position] for position in range(len(self.request.events))]


class _FoldedProgress(NamedTuple):
    """What is known of one enrollment after the batch."""

    portal_id: UUID
    enrollment_id: UUID
    before: KnownProgress
    after: KnownProgress


def record_progress_jobs(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed `record_progress` jobs: the events of each enrollment folded in ledger order.

    Raises: Transient errors of the database (a row held for over 250 ms, a deadlock): the batch may be done again.
    """
    jobs = [
        _ProgressJob(row, cast("RecordProgress", parse(row.columns["kind"], row.columns["request"]))) for row in rows
    ]
    said: dict[tuple[UUID, UUID], list[_EventPosition]] = {}
    for number, job in enumerate(jobs):
        for position, event in enumerate(job.request.events):
            said.setdefault((job.portal_id, event.enrollment_id), []).append(_EventPosition(number, position))
    wait_briefly_for_locks(session)
    asked = {"portals": [portal for portal, _ in said], "ids": [one for _, one in said]}
    found = {(row.portal_id, row.id): row for row in session.execute(LOCK_ENROLLMENTS, asked)}
    told = [_tell(jobs, enrollment, places, found.get(enrollment)) for enrollment, places in said.items()]
    _write(session, [one for one in told if one and one.after != one.before])
    record_people(session, [(job.row.id, job.results) for job in jobs])
    record_all(session, [_change(job) for job in jobs if any(one.code is Code.RECORDED for one in job.people.values())])
    return [_outcome(job) for job in jobs]


def _tell(
    jobs: Sequence[_ProgressJob], enrollment: tuple[UUID, UUID], places: Sequence[_EventPosition], row: Any | None
) -> _FoldedProgress | None:
    """Gives every event of one enrollment its result; returns what is known now, None when nothing can be recorded."""
    portal_id, enrollment_id = enrollment
    if row is None:
        _answer(jobs, places, ((Code.NOT_FOUND, None) for _ in places), None, enrollment_id)
        return None
    if gone := _gone(row):
        _answer(jobs, places, (gone for _ in places), row.account_id, enrollment_id)
        return None
    before = KnownProgress(
        Progress(row.progress),
        row.started_at,
        row.completed_at,
        row.progress_at,
        row.score,
        row.scored_at,
        row.time_spent_seconds,
    )
    events = (_event(jobs[place.job].request.events[place.position]) for place in places)
    after, codes = record_events(before, events, row.now)
    _answer(jobs, places, ((code, None) for code in codes), row.account_id, enrollment_id)
    return _FoldedProgress(portal_id, enrollment_id, before, after)


def _gone(row: Any) -> tuple[Code, dict[str, Any]] | None:
    """Why nothing more is recorded of somebody, and since when."""
    if row.detached_at is not None:
        return Code.DETACHED, {"since": row.detached_at.isoformat()}
    return None if row.withdrawn_at is None else (Code.ALREADY_WITHDRAWN, {"since": row.withdrawn_at.isoformat()})


def _answer(
    jobs: Sequence[_ProgressJob],
    places: Sequence[_EventPosition],
    answers: Iterable[tuple[Code, dict[str, Any] | None]],
    account_id: UUID | None,
    enrollment_id: UUID,
) -> None:
    for place, (code, detail) in zip(places, answers, strict=True):
        wrong = "occurred_at" if code is Code.INVALID_REQUEST else None
        person = PersonResult(place.position, code, wrong, account_id, enrollment_id, detail)
        jobs[place.job].people[place.position] = person


def _event(event: ProgressEvent) -> LearningEvent:
    return LearningEvent(event.progress, event.occurred_at, event.score, event.time_spent_seconds, event.completed_at)


def _write(session: Session, told: Sequence[_FoldedProgress]) -> None:
    if not told:
        return
    columns = {name: [getattr(one.after, name) for one in told] for name in KnownProgress._fields}
    session.execute(UPDATE_PROGRESS, columns | {"ids": [one.enrollment_id for one in told]})
    completed = [
        one
        for one in told
        if one.after.progress is Progress.COMPLETED and one.before.progress is not Progress.COMPLETED
    ]
    _owe_certificates(session, completed)


def _owe_certificates(session: Session, completed: Sequence[_FoldedProgress]) -> None:
    """Owes each certificate once: the row went over to completed under its lock, and the key is its own besides."""
    requests = [(one.portal_id, IssueCertificate(enrollment_id=one.enrollment_id)) for one in completed]
    owe_jobs(session, [OwedJob(request, request.key, portal_id) for portal_id, request in requests])


def _change(job: _ProgressJob) -> AuditChange:
    alone = job.people[0] if len(job.people) == 1 else None
    return AuditChange(
        job.request.kind,
        portal_id=job.portal_id,
        requested_by=job.request.requested_by,
        account_id=alone.account_id if alone else None,
        subject_id=alone.enrollment_id if alone else None,
        job_id=job.row.id,
        detail={"counts": Counter(one.code for one in job.people.values())},
    )


def _outcome(job: _ProgressJob) -> WorkOutcome:
    counts = Counter(person.code for person in job.people.values())
    heard = any(counts[code] for code in HEARD_CODES)
    state = JobState.SUCCEEDED if heard else JobState.REFUSED
    return WorkOutcome(job.row.id, job.row.claim, state, {"counts": counts} | one_or_none(job.results))
