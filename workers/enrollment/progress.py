"""Recording progress: events of the LMS are folded into enrollments, and a first completion owes its certificate.

Lock order: job rows, enrollments by id. Contracts are only read: no seat moves.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.enrollment import (
    HEARD_CODES,
    PARTICIPATING,
    Enrollment,
    KnownProgress,
    LearningEvent,
    record_events,
)
from models.person import Fault
from models.words import Code, JobState, Progress
from workers.audit import AuditChange, record_all
from workers.database import Session, wait_briefly_for_locks
from workers.engine.acceptance import OwedJob, owe_jobs
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, one_or_none, record_people
from workers.requests.enrollment import ProgressEvent, RecordProgress, RefusedEvent
from workers.requests.internal import IssueCertificate
from workers.requests.registry import parse
from workers.sql import Unnest, fetch


class _EnrollmentKey(NamedTuple):
    """An enrollment, and the portal that speaks of it."""

    portal_id: UUID
    id: UUID


class _StudiedEnrollment(NamedTuple):
    """An enrollment of the portal, its row held."""

    id: UUID
    portal_id: UUID
    account_id: UUID
    progress: str
    started_at: datetime | None
    completed_at: datetime | None
    progress_at: datetime | None
    score: float | None
    scored_at: datetime | None
    time_spent_seconds: int
    timed_at: datetime | None
    enrolled_at: datetime
    withdrawn_at: datetime | None
    detached_at: datetime | None
    now: datetime

    @property
    def known(self) -> KnownProgress:
        """The progress recorded so far."""
        return KnownProgress(
            Progress(self.progress),
            self.started_at,
            self.completed_at,
            self.progress_at,
            self.score,
            self.scored_at,
            self.time_spent_seconds,
            self.timed_at,
        )


class _RecordedProgress(NamedTuple):
    """The columns that events change: the enrollment and the fields of ``KnownProgress``."""

    id: UUID
    progress: str
    started_at: datetime | None
    completed_at: datetime | None
    progress_at: datetime | None
    score: float | None
    scored_at: datetime | None
    time_spent_seconds: int
    timed_at: datetime | None


_NAMED_ENROLLMENTS: Final = Unnest(_EnrollmentKey, Enrollment, alias="given", others={"portal_id": "uuid"})
_RECORDED: Final = Unnest(_RecordedProgress, Enrollment, alias="given")

# Enrollments of the portal that speaks; another portal's are not found.
LOCK_ENROLLMENTS = text(f"""
    SELECT e.id, c.portal_id, e.account_id, e.progress, e.started_at, e.completed_at, e.progress_at, e.score,
      e.scored_at, e.time_spent_seconds, e.timed_at, e.enrolled_at, e.withdrawn_at, e.detached_at, now() AS now
    FROM {_NAMED_ENROLLMENTS}
    JOIN enrollment e ON e.id = given.id JOIN contract c ON c.id = e.contract_id AND c.portal_id = given.portal_id
    ORDER BY e.id FOR NO KEY UPDATE OF e""")

# A person who was withdrawn or detached is passed over once more, though the rows are held.
UPDATE_PROGRESS = text(f"""
    UPDATE enrollment e SET progress = given.progress, started_at = given.started_at,
      completed_at = given.completed_at, progress_at = given.progress_at, score = given.score,
      scored_at = given.scored_at, time_spent_seconds = given.time_spent_seconds,
      timed_at = given.timed_at
    FROM {_RECORDED} WHERE e.id = given.id AND {PARTICIPATING}""")


class _ProgressJob(NamedTuple):
    row: ClaimedRow
    request: RecordProgress

    @property
    def portal_id(self) -> UUID:
        return self.row.columns.portal_id


class _EventPosition(NamedTuple):
    """The job of an event in the batch, and the position of the event in the request."""

    job: int
    position: int


class _PlacedEvent(NamedTuple):
    at: _EventPosition
    event: ProgressEvent


class _RecordedEnrollment(NamedTuple):
    """One enrollment after the batch: the result of each of its events, and its progress if that is known."""

    portal_id: UUID
    enrollment_id: UUID
    results: Mapping[_EventPosition, PersonResult]
    before: KnownProgress | None = None
    after: KnownProgress | None = None

    @property
    def completed_now(self) -> bool:
        """Whether the training was completed by these events and not before."""
        return _is_completed(self.after) and not _is_completed(self.before)


def record_progress_jobs(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed `record_progress` jobs: the events of each enrollment folded in ledger order.

    Raises: Transient errors of the database (a row held for over 250 ms, a deadlock): the batch may be done again.
    """
    jobs = [_ProgressJob(row, cast("RecordProgress", parse(row.columns.kind, row.columns.request))) for row in rows]
    events = _by_enrollment(jobs)
    wait_briefly_for_locks(session)
    found = fetch(session, _StudiedEnrollment, LOCK_ENROLLMENTS, _NAMED_ENROLLMENTS.parameters(list(events)))
    held = {_EnrollmentKey(row.portal_id, row.id): row for row in found}
    recorded = [_record_events(key, placed, held.get(key)) for key, placed in events.items()]
    _write(session, recorded)
    people = _results(jobs, recorded)
    record_people(session, [(job.row.id, results) for job, results in zip(jobs, people, strict=True)])
    changed = [(job, results) for job, results in zip(jobs, people, strict=True) if _records_something(results)]
    record_all(session, [_change(job, results) for job, results in changed])
    return [_outcome(job, results) for job, results in zip(jobs, people, strict=True)]


def _by_enrollment(jobs: Sequence[_ProgressJob]) -> dict[_EnrollmentKey, list[_PlacedEvent]]:
    """Returns the events of each enrollment in ledger order."""
    found: dict[_EnrollmentKey, list[_PlacedEvent]] = {}
    for number, job in enumerate(jobs):
        for position, event in enumerate(job.request.events):
            if isinstance(event, RefusedEvent):
                continue  # answered by ``_results``
            placed = _PlacedEvent(_EventPosition(number, position), event)
            found.setdefault(_EnrollmentKey(job.portal_id, event.enrollment_id), []).append(placed)
    return found


def _record_events(
    key: _EnrollmentKey, placed: Sequence[_PlacedEvent], row: _StudiedEnrollment | None
) -> _RecordedEnrollment:
    """Folds the events of one enrollment into its progress; nothing is recorded of an unknown one or one that ended."""
    if row is None:
        return _RecordedEnrollment(*key, _answers(key, placed, None, [(Code.NOT_FOUND, None)] * len(placed)))
    if ended := _ended_because(row):
        return _RecordedEnrollment(*key, _answers(key, placed, row.account_id, [ended] * len(placed)))
    before = row.known
    after, codes = record_events(before, [_learning_event(one.event) for one in placed], row.now, row.enrolled_at)
    results = _answers(key, placed, row.account_id, [(code, None) for code in codes])
    return _RecordedEnrollment(*key, results, before, after)


def _ended_because(row: _StudiedEnrollment) -> tuple[Code, dict[str, Any]] | None:
    """Tells why nothing more is recorded of this person, and since when."""
    if row.detached_at is not None:
        return Code.DETACHED, {"since": row.detached_at.isoformat()}
    return None if row.withdrawn_at is None else (Code.ALREADY_WITHDRAWN, {"since": row.withdrawn_at.isoformat()})


def _answers(
    key: _EnrollmentKey,
    placed: Sequence[_PlacedEvent],
    account_id: UUID | None,
    codes: Iterable[tuple[Code, dict[str, Any] | None]],
) -> dict[_EventPosition, PersonResult]:
    return {
        at: PersonResult(at.position, code, _WRONG_FIELDS.get(code), account_id, key.id, detail)
        for (at, _), (code, detail) in zip(placed, codes, strict=True)
    }


_WRONG_FIELDS: Final = {Code.INVALID_REQUEST: "occurred_at", Code.IMPLAUSIBLE_TIME: "time_spent_seconds"}


def _learning_event(event: ProgressEvent) -> LearningEvent:
    return LearningEvent(event.progress, event.occurred_at, event.score, event.time_spent_seconds, event.completed_at)


def _write(session: Session, recorded: Sequence[_RecordedEnrollment]) -> None:
    """Writes the progress that changed, and owes the certificates of those who completed their training now."""
    changed = [
        _RecordedProgress(one.enrollment_id, *one.after)
        for one in recorded
        if one.after is not None and one.after != one.before
    ]
    if changed:
        session.execute(UPDATE_PROGRESS, _RECORDED.parameters(changed))
        _owe_certificates(session, [one for one in recorded if one.completed_now])


def _is_completed(known: KnownProgress | None) -> bool:
    return known is not None and known.progress is Progress.COMPLETED


def _owe_certificates(session: Session, completed: Sequence[_RecordedEnrollment]) -> None:
    """Owes each certificate once: the row went over to completed under its lock, and the key is its own besides."""
    requests = [(one.portal_id, IssueCertificate(enrollment_id=one.enrollment_id)) for one in completed]
    owe_jobs(session, [OwedJob(request, request.key, portal_id) for portal_id, request in requests])


def _results(jobs: Sequence[_ProgressJob], recorded: Iterable[_RecordedEnrollment]) -> list[list[PersonResult]]:
    """Returns the results of each job in the order of its request."""
    results = {at: result for one in recorded for at, result in one.results.items()}
    return [
        [
            _refused(position, event) if isinstance(event, RefusedEvent) else results[_EventPosition(number, position)]
            for position, event in enumerate(job.request.events)
        ]
        for number, job in enumerate(jobs)
    ]


def _refused(position: int, event: RefusedEvent) -> PersonResult:
    """Answers an event that cannot be read, with every wrong field if there are several."""
    fields = [name or "events" for name in event.wrong_fields]
    faults = [Fault(Code.INVALID_REQUEST, name)._asdict() for name in fields]
    detail = {"faults": faults} if len(faults) > 1 else None
    return PersonResult(position, Code.INVALID_REQUEST, fields[0], None, event.enrollment_id, detail)


def _records_something(results: Sequence[PersonResult]) -> bool:
    return any(one.code is Code.RECORDED for one in results)


def _change(job: _ProgressJob, results: Sequence[PersonResult]) -> AuditChange:
    alone = results[0] if len(results) == 1 else None
    return AuditChange(
        job.request.kind,
        portal_id=job.portal_id,
        requested_by=job.request.requested_by,
        account_id=alone.account_id if alone else None,
        subject_id=alone.enrollment_id if alone else None,
        job_id=job.row.id,
        detail={"counts": Counter(one.code for one in results)},
    )


def _outcome(job: _ProgressJob, results: Sequence[PersonResult]) -> WorkOutcome:
    counts = Counter(person.code for person in results)
    heard = any(counts[code] for code in HEARD_CODES)
    state = JobState.SUCCEEDED if heard else JobState.REFUSED
    return WorkOutcome(job.row.id, job.row.claim, state, {"counts": counts} | one_or_none(results))
