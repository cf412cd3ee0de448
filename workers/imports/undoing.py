"""Cancels imports that are in progress, and undoes imports that have ended.

An import reads a flag before each chunk, so that a cancelled one leaves nothing half-done. To undo an import, the
people it enrolled are withdrawn by the ordinary rule, chunk by chunk: the withdrawals, results, position and lease of
a chunk are one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import Text, func, text, update
from sqlalchemy import cast as cast_to
from sqlmodel import col

from models.job import Job
from models.mails import quoted
from models.roster import RosterImport
from models.withdrawal import WITHDRAWN_CODES
from models.words import HINT_CODES, Code, JobState
from workers.audit import record
from workers.database import Session
from workers.engine.chunks import Chunk
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, count_codes, insert_people
from workers.enrollment.withdrawal import WITHDRAWAL, WithdrawalJob, withdraw
from workers.imports.importing import record_import
from workers.requests.enrollment import Withdraw
from workers.requests.imports import CancelImport, ImportRoster, UndoImport
from workers.requests.registry import parse
from workers.sql import fetch, fetch_one, select_record

CHUNK: Final = 1_000

# Reads the next people that an import has enrolled, by their enrollments; the contract is that of the enrollment,
# whatever reference the import gave. It locks nothing: the withdrawal does.
READ_ENROLLED = text(f"""
    SELECT p.position, p.enrollment_id, p.detail, c.reference
    FROM job_person p JOIN enrollment e ON e.id = p.enrollment_id JOIN contract c ON c.id = e.contract_id
    WHERE p.job_id = :job AND p.position >= :first AND p.code IN ({quoted((Code.ENROLLED, Code.ATTACHED))})
      AND e.job_id = :job
    ORDER BY p.position LIMIT :size""")


class _CancelledJob(NamedTuple):
    kind: str
    request: str
    finished_at: datetime | None


class _UndoneImport(NamedTuple):
    finished_at: datetime | None
    rows: int | None


class _EnrolledRow(NamedTuple):
    position: int
    enrollment_id: UUID
    detail: Any
    reference: str


def cancel_imports(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `cancel_import` jobs; an import in progress stops before its next chunk."""
    return [_cancel(session, row) for row in rows]


def _cancel(session: Session, row: ClaimedRow) -> WorkOutcome:
    request = cast("CancelImport", parse(row.columns.kind, row.columns.request))
    portal_id = row.columns.portal_id
    job = select_record(_CancelledJob, Job, request=cast_to(col(Job.request), Text))
    job = job.where(col(Job.id) == request.job, col(Job.portal_id) == portal_id, col(Job.kind) == ImportRoster.kind)
    found = fetch_one(session, _CancelledJob, job)
    if found is None or found.finished_at is not None:
        return _refused(row, Code.NOT_FOUND if found is None else Code.ALREADY_FINISHED)
    # An import from the queue of portals that has not begun has no row of its own yet.
    record_import(session, request.job, portal_id, cast("ImportRoster", parse(found.kind, found.request)))
    cancelled = {"cancelled_at": func.coalesce(col(RosterImport.cancelled_at), func.now())}
    session.execute(update(RosterImport).where(col(RosterImport.job_id) == request.job).values(cancelled))
    asker = request.requested_by
    record(session, request.kind, portal_id=portal_id, requested_by=asker, subject_id=request.job, job_id=row.id)
    return WorkOutcome(row.id, row.claim, JobState.SUCCEEDED, {"code": Code.CANCELLED})


def _refused(row: ClaimedRow, code: Code) -> WorkOutcome:
    return WorkOutcome(row.id, row.claim, JobState.REFUSED, {"code": code, "field": "job"})


@dataclass(frozen=True, slots=True)
class RunningUndo:
    """An import that is being undone.

    Parameters:
      position: the position in the file of the next row; the job keeps it too.
    """

    row: ClaimedRow
    request: UndoImport
    position: int


def resume(_: Session, row: ClaimedRow) -> RunningUndo:
    """Takes the job up after its last committed chunk."""
    request = cast("UndoImport", parse(row.columns.kind, row.columns.request))
    return RunningUndo(row, request, row.columns.position)


def undo_chunk(session: Session, run: RunningUndo) -> Chunk[RunningUndo]:
    """Withdraws the people of the next chunk; the outcome comes with the last."""
    found = _find_import(session, run)
    if found is None or found.finished_at is None:
        refused = _refused(run.row, Code.NOT_FOUND if found is None else Code.NOT_FINISHED)
        return Chunk(run, run.position, refused)
    asked = {"job": run.request.job, "first": run.position, "size": CHUNK}
    people = fetch(session, _EnrolledRow, READ_ENROLLED, asked)
    if people:
        _withdraw(session, run, people)
    last = len(people) < CHUNK  # no later row of the file was enrolled by it
    position = (found.rows or run.position) if last else people[-1].position + 1
    return Chunk(replace(run, position=position), position, _end(session, run) if last else None)


def _find_import(session: Session, run: RunningUndo) -> _UndoneImport | None:
    found = select_record(_UndoneImport, Job, RosterImport).join(RosterImport, col(RosterImport.job_id) == col(Job.id))
    own = col(RosterImport.portal_id) == run.row.columns.portal_id
    return fetch_one(session, _UndoneImport, found.where(col(RosterImport.job_id) == run.request.job, own))


def _withdraw(session: Session, run: RunningUndo, people: Sequence[_EnrolledRow]) -> None:
    """Withdraws people; their results keep the positions and lines they had in the file."""
    request = Withdraw(
        contract=people[0].reference,
        enrollment_ids=[one.enrollment_id for one in people],
        notify=run.request.notify,
        requested_by=run.request.requested_by,
    )
    columns = run.row.columns._replace(kind=Withdraw.kind, request=request.model_dump_json())
    [job] = withdraw(session, [replace(run.row, columns=columns)], WITHDRAWAL)
    insert_people(session, [(run.row.id, one) for one in _placed(job, people)])


def _placed(job: WithdrawalJob, people: Sequence[_EnrolledRow]) -> list[PersonResult]:
    return [
        person._replace(position=one.position, detail=_line(one) | dict(person.detail or {}))
        for person, one in zip(job.people, people, strict=True)
    ]


def _line(one: _EnrolledRow) -> dict[str, Any]:
    """Returns the line of a person, without what was to be checked when they were enrolled."""
    return {name: said for name, said in (one.detail or {}).items() if name not in HINT_CODES}


def _end(session: Session, run: RunningUndo) -> WorkOutcome:
    row, request = run.row, run.request
    counts = count_codes(session, row.id)
    record(
        session,
        request.kind,
        portal_id=row.columns.portal_id,
        requested_by=request.requested_by,
        subject_id=request.job,
        job_id=row.id,
        detail={"counts": counts},
    )
    done = any(counts[code] for code in WITHDRAWN_CODES) or not counts
    result = {"counts": counts, "seats": counts[Code.WITHDRAWN]}
    return WorkOutcome(row.id, row.claim, JobState.SUCCEEDED if done else JobState.REFUSED, result)
