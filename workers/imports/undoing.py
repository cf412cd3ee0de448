"""Taking an import back: whoever it enrolled is withdrawn by the ordinary rule, a chunk at a time.

Each chunk's withdrawals, results, position and lease are one transaction, as an import's are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from sqlalchemy import text

from models.withdrawal import WITHDRAWN_CODES
from models.words import Code, JobState
from workers.audit import record
from workers.database import Session
from workers.engine.chunks import Chunk
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import count_codes, insert_people
from workers.enrollment.withdrawal import WITHDRAWAL, WithdrawalJob, withdraw
from workers.requests.enrollment import Withdraw
from workers.requests.imports import UndoImport
from workers.requests.registry import parse

CHUNK: Final = 1_000

FIND_IMPORT = text("""
    SELECT r.job_id, j.finished_at IS NOT NULL AS finished, r.rows FROM roster r JOIN job j ON j.id = r.job_id
    WHERE r.job_id = :job AND r.portal_id = :portal""")

# By the rows that really joined; the contract is theirs, whatever reference the import spoke of.
READ_ENROLLED = text("""
    SELECT p.position, p.enrollment_id, p.detail, c.reference
    FROM job_person p JOIN enrollment e ON e.id = p.enrollment_id JOIN contract c ON c.id = e.contract_id
    WHERE p.job_id = :job AND p.position >= :first AND p.code IN ('enrolled', 'attached') AND e.job_id = :job
    ORDER BY p.position LIMIT :size""")


@dataclass(frozen=True, slots=True)
class RunningUndo:
    """An import being taken back.

    Parameters:
      position: the place in the file of the next row to look at; also kept in the job.
    """

    row: ClaimedRow
    request: UndoImport
    position: int


def resume(_: Session, row: ClaimedRow) -> RunningUndo:
    """Takes it up where its last committed chunk left it."""
    request = cast("UndoImport", parse(row.columns["kind"], row.columns["request"]))
    return RunningUndo(row, request, int(row.columns["position"]))


def undo_chunk(session: Session, course: RunningUndo) -> Chunk[RunningUndo]:
    """Withdraws the people of the next chunk; the outcome comes with the last."""
    row, request = course.row, course.request
    found = session.execute(FIND_IMPORT, {"job": request.job, "portal": row.columns["portal_id"]}).one_or_none()
    if found is None or not found.finished:
        code = Code.NOT_FOUND if found is None else Code.NOT_FINISHED
        outcome = WorkOutcome(row.id, row.claim, JobState.REFUSED, {"code": code, "field": "job"})
        return Chunk(course, course.position, outcome)
    asked = {"job": request.job, "first": course.position, "size": CHUNK}
    people: Sequence[Any] = session.execute(READ_ENROLLED, asked).all()
    if people:
        _withdraw(session, course, people)
    last = len(people) < CHUNK  # whoever stands further down in the file did not join by it: all of it was looked at
    position = (found.rows or course.position) if last else people[-1].position + 1
    further = replace(course, position=position)
    return Chunk(further, position, _end(session, course) if last else None)


def _withdraw(session: Session, course: RunningUndo, people: Sequence[Any]) -> None:
    """The results keep the places their people had in the file, and its lines."""
    request = Withdraw(
        contract=people[0].reference,
        enrollment_ids=[one.enrollment_id for one in people],
        notify=course.request.notify,
        requested_by=course.request.requested_by,
    )
    columns = dict(course.row.columns) | {"kind": Withdraw.kind, "request": request.model_dump_json()}
    [job] = withdraw(session, [replace(course.row, columns=columns)], WITHDRAWAL)
    insert_people(session, [(course.row.id, one) for one in _placed(job, people)])


def _placed(job: WithdrawalJob, people: Sequence[Any]) -> list[Any]:
    return [
        person._replace(position=one.position, detail={**(one.detail or {}), **(person.detail or {})})
        for person, one in zip(job.people, people, strict=True)
    ]


def _end(session: Session, course: RunningUndo) -> WorkOutcome:
    row, request = course.row, course.request
    counts = count_codes(session, row.id)
    record(
        session,
        request.kind,
        portal_id=row.columns["portal_id"],
        requested_by=request.requested_by,
        subject_id=request.job,
        job_id=row.id,
        detail={"counts": counts},
    )
    done = any(counts[code] for code in WITHDRAWN_CODES) or not counts
    result = {"counts": counts, "seats": counts[Code.WITHDRAWN]}
    return WorkOutcome(row.id, row.claim, JobState.SUCCEEDED if done else JobState.REFUSED, result)
