"""What tests of failures share: rows of jobs, work on them that fails as told, what became of each."""

from collections.abc import Callable, Sequence
from uuid import UUID

from sqlalchemy import text

from tests.kit.builders.ledgers import (
    QUEUE,
    attempts,
    lane,
    look,
    owe,
)
from tests.kit.processes.support import change, rows
from workers.database import Session, transaction
from workers.engine import ledger as books
from workers.engine.claimer import BatchRun, this_process
from workers.engine.ledger import (
    FIRST_LANE,
    JOBS,
    ClaimedRow,
    DoWork,
    WorkOutcome,
)

Fault = Callable[[UUID], Exception | None]


def owe_jobs(count: int, *, each_in_its_lane: bool = True) -> list[UUID]:
    """So many jobs that are due."""
    with transaction() as session:
        return [owe(session, JOBS, lane=lane(n + 1 if each_in_its_lane else 1)) for n in range(count)]


def claim(size: int = 100) -> list[ClaimedRow]:
    """Claims them for this process."""
    with transaction() as session:
        return books.claim(session, JOBS, QUEUE, size=size, lease=30, worker=this_process(), cursor=FIRST_LANE)


def make_due(row_id: UUID) -> None:
    """The time until its next attempt has passed."""
    change("UPDATE job SET due_at = now() WHERE id = :id", id=row_id)


def state(row_id: UUID) -> tuple[str, int, int]:
    """State, failures and claim of a job."""
    with transaction() as session:
        row = look(session, JOBS, row_id)
    return row["state"], row["failures"], row["claim"]


def attempt_outcomes(row_id: UUID) -> list[str]:
    """How the attempts kept of a job ended."""
    with transaction() as session:
        return [outcome for _, outcome in attempts(session, row_id)]


def work(fault: Fault) -> DoWork:
    """Work that leaves a trace of each row, and fails on rows as told."""

    def do(session: Session, held: Sequence[ClaimedRow]) -> list[WorkOutcome]:
        for row in held:
            session.execute(
                text("INSERT INTO audit (action, result, requested_by, job_id) VALUES ('t', '', '', :id)"),
                {"id": row.id},
            )
            error = fault(row.id)
            if error:
                raise error
        return [WorkOutcome(row.id, row.claim, "succeeded") for row in held]

    return do


def jobs_done() -> set[object]:
    """The jobs that left a trace; none left two."""
    found = [row[0] for row in rows("SELECT job_id FROM audit")]
    assert len(found) == len(set(found)), "done twice"
    return set(found)


def fail_on(bad: UUID | None, error: Exception) -> Fault:
    """Fails on one row, with this error."""
    return lambda row_id: error if row_id == bad else None


def do_all(batch: Sequence[ClaimedRow]) -> None:
    """Work without a fault."""
    BatchRun(JOBS, work(lambda _: None)).run(batch)
