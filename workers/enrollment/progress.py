"""Recording progress: events of the LMS are folded into enrollments, and a first completion owes its certificate.

Lock order: job rows, enrollments by id. Contracts are only read: no seat moves.
"""

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from datetime import UTC, datetime
from operator import attrgetter
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
from models.words import Code, JobState, Progress, WebhookEvent
from workers.audit import AuditChange, record_all
from workers.database import Session
from workers.engine.acceptance import OwedJob, owe_jobs
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, one_or_none, record_people
from workers.outbox.events import EnrollmentNews, tell_of_enrollments
from workers.requests.enrollment import ProgressEvent, RecordProgress, RefusedEvent
from workers.requests.internal import IssueCertificate
from workers.requests.registry import parse
from workers.sql import Unnest, fetch, fetch_values


class _EnrollmentKey(NamedTuple):
    """An enrollment, the portal that speaks of it, and its place among those of the batch."""

    place: int
    portal_id: UUID
    id: UUID


class _StudiedEnrollment(NamedTuple):
    """An enrollment of the portal, its row held.

    Parameters:
      place: which of the named enrollments it is; a number is read from the answer faster than identifiers are.
    """

    place: int
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

    @property
    def known(self) -> KnownProgress:
        """The progress recorded so far."""
        return KnownProgress(
            _PROGRESS[self.progress],
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


_PROGRESS: Final[dict[str, Progress]] = {word.value: word for word in Progress}

_NAMED_ENROLLMENTS: Final = Unnest(
    _EnrollmentKey, Enrollment, alias="given", others={"place": "integer", "portal_id": "uuid"}
)
_RECORDED: Final = Unnest(_RecordedProgress, Enrollment, alias="given", one_by_one=True)

# Bounds each wait for a lock of this transaction, as ``wait_briefly_for_locks`` does, and tells its moment.
BEGIN_RECORDING = text("SELECT now() FROM set_config('lock_timeout', '250ms', true)")

# Enrollments of the portal that speaks; another portal's are not found.
LOCK_ENROLLMENTS = text(f"""
    SELECT given.place, e.account_id, e.progress, e.started_at, e.completed_at, e.progress_at, e.score,
      e.scored_at, e.time_spent_seconds, e.timed_at, e.enrolled_at, e.withdrawn_at, e.detached_at
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


class _PlacedEvent(NamedTuple):
    """An event, the number of its job in the batch, and its position in the request."""

    job: int
    position: int
    event: ProgressEvent


class _JudgedEnrollment(NamedTuple):
    """The events of one enrollment, and a code for each.

    Parameters:
      row: the enrollment, or None when the portal has none with this identifier.
      detail: the facts that explain the codes, if any.
      before, after: the progress without and with these events, or None when nothing is recorded of this enrollment.
    """

    events: Sequence[_PlacedEvent]
    row: _StudiedEnrollment | None
    codes: Sequence[Code]
    detail: dict[str, Any] | None = None
    before: KnownProgress | None = None
    after: KnownProgress | None = None


def record_progress_jobs(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed `record_progress` jobs: the events of each enrollment folded in ledger order.

    Raises: Transient errors of the database (a row held for over 250 ms, a deadlock): the batch may be done again.
    """
    jobs = [_ProgressJob(row, cast("RecordProgress", parse(row.columns.kind, row.columns.request))) for row in rows]
    events = _by_enrollment(jobs)
    now = _begin(session)
    held = _hold(session, jobs, events)
    judged = [_judge(placed, held.get(place), now) for place, placed in enumerate(events)]
    _write(session, jobs, judged)
    people = _results(jobs, judged)
    record_people(session, [(job.row.id, results) for job, results in zip(jobs, people, strict=True)])
    counted = [Counter(person.code for person in results) for results in people]
    record_all(session, [_change(*one) for one in zip(jobs, people, counted, strict=True) if one[2][Code.RECORDED]])
    return [_outcome(*one) for one in zip(jobs, people, counted, strict=True)]


def _by_enrollment(jobs: Sequence[_ProgressJob]) -> list[list[_PlacedEvent]]:
    """Returns the events of each enrollment in ledger order; events that cannot be read are left out."""
    found: dict[tuple[int, int], list[_PlacedEvent]] = {}  # by integers: Python code hashes an identifier
    for number, job in enumerate(jobs):
        portal = job.portal_id.int
        for position, event in enumerate(job.request.events):
            if type(event) is not RefusedEvent:
                placed = _PlacedEvent(number, position, event)
                found.setdefault((portal, event.enrollment_id.int), []).append(placed)
    return list(found.values())


def _begin(session: Session) -> datetime:
    """Limits the waits of this transaction and returns its moment, which so is not sent again with each enrollment."""
    [now] = fetch_values(session, datetime, BEGIN_RECORDING)
    return now


def _hold(
    session: Session, jobs: Sequence[_ProgressJob], events: Sequence[Sequence[_PlacedEvent]]
) -> dict[int, _StudiedEnrollment]:
    """Locks the enrollments that the events speak of, and returns those that the portal has, by their place."""
    named = [
        _EnrollmentKey(place, jobs[first.job].portal_id, first.event.enrollment_id)
        for place, (first, *_) in enumerate(events)
    ]
    found = fetch(session, _StudiedEnrollment, LOCK_ENROLLMENTS, _NAMED_ENROLLMENTS.parameters(named))
    return {row.place: row for row in found}


def _judge(events: Sequence[_PlacedEvent], row: _StudiedEnrollment | None, now: datetime) -> _JudgedEnrollment:
    """Folds the events of one enrollment into its progress; nothing is recorded of an unknown one or one that ended."""
    if row is None:
        return _JudgedEnrollment(events, None, [Code.NOT_FOUND] * len(events))
    if ended := _ended_because(row):
        code, detail = ended
        return _JudgedEnrollment(events, row, [code] * len(events), detail)
    before = row.known
    after, codes = record_events(before, [_learning_event(one.event) for one in events], now, row.enrolled_at)
    return _JudgedEnrollment(events, row, codes, None, before, after)


def _ended_because(row: _StudiedEnrollment) -> tuple[Code, dict[str, Any]] | None:
    """Tells why nothing more is recorded of this person, and since when."""
    if row.detached_at is not None:
        return Code.DETACHED, {"since": row.detached_at.isoformat()}
    return None if row.withdrawn_at is None else (Code.ALREADY_WITHDRAWN, {"since": row.withdrawn_at.isoformat()})


def _learning_event(event: ProgressEvent) -> LearningEvent:
    """Returns the event with its moments in UTC, as those of the database are: two of one zone are compared at once."""
    completed_at = event.completed_at and event.completed_at.astimezone(UTC)
    at = event.occurred_at.astimezone(UTC)
    return LearningEvent(event.progress, at, event.score, event.time_spent_seconds, completed_at)


def _write(session: Session, jobs: Sequence[_ProgressJob], judged: Sequence[_JudgedEnrollment]) -> None:
    """Writes the progress that changed, and owes the certificates of those who completed their training now."""
    changed = [
        (events[0], before, after)
        for events, _, _, _, before, after in judged
        if before is not None and after is not None and before != after
    ]
    if changed:
        recorded = [_RecordedProgress(first.event.enrollment_id, *after) for first, _, after in changed]
        session.execute(UPDATE_PROGRESS, _RECORDED.parameters(recorded))
        completed = [first for first, *known in changed if _completes(*known)]
        _owe_certificates(session, [(jobs[job].portal_id, event.enrollment_id) for job, _, event in completed])
        portals = {jobs[first.job].portal_id for first, *_ in changed}
        done = {first.event.enrollment_id for first in completed}
        _tell_progress(session, portals, [first.event.enrollment_id for first, *_ in changed], done)


def _tell_progress(session: Session, portals: Set[UUID], changed: Sequence[UUID], completed: Set[UUID]) -> None:
    """Owes to the portals the progress that changed: each person is told of once, a completion as that alone."""
    progressed, done = WebhookEvent.PARTICIPANT_PROGRESSED, WebhookEvent.PARTICIPANT_COMPLETED
    news = (EnrollmentNews(done if one in completed else progressed, one) for one in changed)
    tell_of_enrollments(session, portals, {progressed, done}, news)


def _completes(before: KnownProgress, after: KnownProgress) -> bool:
    """Tells whether the training was completed by these events and not before."""
    return after.progress is Progress.COMPLETED and before.progress is not Progress.COMPLETED


def _owe_certificates(session: Session, completed: Iterable[tuple[UUID, UUID]]) -> None:
    """Owes each certificate once: the row went over to completed under its lock, and the key is its own besides.

    Parameters:
      completed: the portal and the enrollment of each.
    """
    requests = [(portal_id, IssueCertificate(enrollment_id=one)) for portal_id, one in completed]
    owe_jobs(session, [OwedJob(request, request.key, portal_id) for portal_id, request in requests])


def _results(jobs: Sequence[_ProgressJob], judged: Iterable[_JudgedEnrollment]) -> list[list[PersonResult]]:
    """Returns the results of each job in the order of its request."""
    results = [_refusals(job.request) for job in jobs]
    for events, row, codes, detail, *_ in judged:
        account_id = row.account_id if row else None
        for (job, position, event), code in zip(events, codes, strict=True):
            field = _WRONG_FIELDS.get(code)
            results[job].append(PersonResult(position, code, field, account_id, event.enrollment_id, detail))
    return [sorted(people, key=attrgetter("position")) for people in results]


_WRONG_FIELDS: Final = {Code.INVALID_REQUEST: "occurred_at", Code.IMPLAUSIBLE_TIME: "time_spent_seconds"}


def _refusals(request: RecordProgress) -> list[PersonResult]:
    """Returns the results of the events that cannot be read."""
    return [_refused(place, event) for place, event in enumerate(request.events) if type(event) is RefusedEvent]


def _refused(position: int, event: RefusedEvent) -> PersonResult:
    """Answers an event that cannot be read, with every wrong field if there are several."""
    fields = [name or "events" for name in event.wrong_fields]
    faults = [Fault(Code.INVALID_REQUEST, name)._asdict() for name in fields]
    detail = {"faults": faults} if len(faults) > 1 else None
    return PersonResult(position, Code.INVALID_REQUEST, fields[0], None, event.enrollment_id, detail)


def _change(job: _ProgressJob, results: Sequence[PersonResult], counts: Counter[Code]) -> AuditChange:
    alone = results[0] if len(results) == 1 else None
    return AuditChange(
        job.request.kind,
        portal_id=job.portal_id,
        requested_by=job.request.requested_by,
        account_id=alone.account_id if alone else None,
        subject_id=alone.enrollment_id if alone else None,
        job_id=job.row.id,
        detail={"counts": counts},
    )


def _outcome(job: _ProgressJob, results: Sequence[PersonResult], counts: Counter[Code]) -> WorkOutcome:
    heard = any(counts[code] for code in HEARD_CODES)
    state = JobState.SUCCEEDED if heard else JobState.REFUSED
    return WorkOutcome(job.row.id, job.row.claim, state, {"counts": counts} | one_or_none(results))
