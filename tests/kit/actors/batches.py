"""The tests of failures use these: due jobs, work that fails on a chosen row, and the state of each job afterwards."""

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
    Claimed,
    ClaimedRow,
    DoWork,
    WorkOutcome,
)

Fault = Callable[[UUID], Exception | None]


def owe_jobs(count: int, *, each_in_its_lane: bool = True) -> list[UUID]:
    """Creates this many due jobs, each in its own lane or all in the first."""
    with transaction() as session:
        return [owe(session, JOBS, lane=lane(n + 1 if each_in_its_lane else 1)) for n in range(count)]


def claim(size: int = 100) -> list[ClaimedRow]:
    """Claims due jobs for this process."""
    with transaction() as session:
        return books.claim(session, JOBS, QUEUE, size=size, lease=30, worker=this_process(), cursor=FIRST_LANE)


def make_due(row_id: UUID) -> None:
    """Makes the next attempt of a job due now."""
    change("UPDATE job SET due_at = now() WHERE id = :id", id=row_id)


def state(row_id: UUID) -> tuple[str, int, int]:
    """Returns the state, the number of failures and the claim number of a job."""
    with transaction() as session:
        row = look(session, JOBS, row_id)
    return row["state"], row["failures"], row["claim"]


def attempt_outcomes(row_id: UUID) -> list[str]:
    """Returns the outcome of each recorded attempt of a job, oldest first."""
    with transaction() as session:
        return [outcome for _, outcome in attempts(session, row_id)]


def work(fault: Fault) -> DoWork[Claimed]:
    """Returns work that writes one audit row per job, and raises the error that `fault` gives for a job."""

    def do(session: Session, held: Sequence[ClaimedRow[Claimed]]) -> list[WorkOutcome]:
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
    """Returns the jobs that wrote an audit row; the test fails if one wrote two."""
    found = [row[0] for row in rows("SELECT job_id FROM audit")]
    assert len(found) == len(set(found)), "done twice"
    return set(found)


def fail_on(bad: UUID | None, error: Exception) -> Fault:
    """Returns a fault that raises this error on one job only."""
    return lambda row_id: error if row_id == bad else None


def do_all(batch: Sequence[ClaimedRow]) -> None:
    """Does a batch without any fault."""
    BatchRun(JOBS, work(lambda _: None)).run(batch)
