"""The handling of failures, the same for every queue: real rows, and work that fails on chosen rows."""

from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from models.job import DEFAULT_RETRIES
from tests.kit.actors.batches import (
    attempt_outcomes,
    claim,
    do_all,
    fail_on,
    jobs_done,
    make_due,
    owe_jobs,
    state,
    work,
)
from tests.kit.builders.ledgers import look
from tests.kit.processes.support import change, rows
from workers.database import Session, transaction
from workers.engine import ledger as books
from workers.engine.claimer import SYSTEMIC, BatchRun, counting_failures
from workers.engine.ledger import (
    JOBS,
    ClaimedRow,
    LostClaimError,
    WorkOutcome,
)
from workers.errors import Permanent, Transient

pytestmark = pytest.mark.usefixtures("running")


def test_a_failing_batch_is_halved_down_to_the_row_that_fails(fresh_database: str) -> None:
    made = owe_jobs(16)
    BatchRun(JOBS, work(fail_on(made[5], ValueError("this one")))).run(claim())
    assert jobs_done() == set(made) - {made[5]}
    assert {state(row_id)[0] for row_id in made if row_id != made[5]} == {"succeeded"}
    assert state(made[5]) == ("queued", 1, 1)
    assert attempt_outcomes(made[5]) == ["retry"]


def test_a_row_that_goes_on_failing_is_dead_in_the_end_with_its_error(fresh_database: str) -> None:
    (bad,) = owe_jobs(1)
    for _ in range(DEFAULT_RETRIES.max_attempts):
        make_due(bad)
        BatchRun(JOBS, work(fail_on(bad, ValueError("Wrong \\x00 \\ud800 value")))).run(claim())
    assert state(bad) == ("dead", DEFAULT_RETRIES.max_attempts, DEFAULT_RETRIES.max_attempts)
    assert attempt_outcomes(bad) == ["retry"] * (DEFAULT_RETRIES.max_attempts - 1) + ["dead"]
    ((error,),) = rows("SELECT error FROM job")
    assert isinstance(error, dict)
    assert (error["class"], error["message"]) == ("ValueError", "Wrong \\x00 \\ud800 value")
    assert "tests/kit/actors/batches.py" in error["traceback"]
    assert claim() == []


def test_the_pause_before_a_retry_follows_the_policy(fresh_database: str) -> None:
    (bad,) = owe_jobs(1)
    for failures in range(1, 4):
        make_due(bad)
        BatchRun(JOBS, work(fail_on(bad, ValueError()))).run(claim())
        with transaction() as session:
            due_in = float(look(session, JOBS, bad)["due_in"])
        longest = DEFAULT_RETRIES.seconds_after(failures, 1.0)
        assert longest is not None
        assert longest / 3 - 1 < due_in <= longest


@pytest.mark.parametrize(
    "error",
    [Transient("relay away", seconds=9), OperationalError("SELECT 1", {}, Exception("gone")), LostClaimError("theirs")],
    ids=["ours", "of the database", "a lost claim"],
)
def test_a_fault_around_the_work_postpones_all_of_it_and_burns_no_attempt(
    fresh_database: str, error: Exception
) -> None:
    made = owe_jobs(8)
    BatchRun(JOBS, work(fail_on(made[3], error))).run(claim())
    assert jobs_done() == set()
    assert {state(row_id) for row_id in made} == {("queued", 0, 1)}
    assert {tuple(attempt_outcomes(row_id)) for row_id in made} == {("postponed",)}


def test_a_row_that_breaks_the_connection_is_found_and_counted(fresh_database: str) -> None:
    """The backend that serves the work dies each time it meets this row."""
    made = owe_jobs(8)

    def do(session: Session, held: Sequence[ClaimedRow]) -> list[WorkOutcome]:
        if made[5] in {row.id for row in held}:
            backend = session.execute(text("SELECT pg_backend_pid()")).scalar()
            change("SELECT pg_terminate_backend(:backend, 10000)", backend=backend)
        return [*work(lambda _: None)(session, held)]

    BatchRun(JOBS, do).run(claim())
    assert jobs_done() == set(made) - {made[5]}
    assert state(made[5]) == ("queued", 1, 1)
    assert attempt_outcomes(made[5]) == ["retry"]


def test_a_connection_lost_before_the_work_blames_no_row(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = owe_jobs(2)
    mine = claim()

    def lost(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"), connection_invalidated=True)

    with monkeypatch.context() as during:
        during.setattr(books, "hold", lost)
        do_all(mine)
    assert {state(row_id) for row_id in made} == {("queued", 0, 1)}


def test_three_rows_failing_alike_are_not_to_blame_and_the_rest_waits(fresh_database: str) -> None:
    made = owe_jobs(16)
    BatchRun(JOBS, work(lambda _: KeyError("a table is missing"))).run(claim())
    ends = [tuple(attempt_outcomes(row_id)) for row_id in made]
    assert ends.count(("retry",)) == SYSTEMIC
    assert ends.count(("postponed",)) == len(made) - SYSTEMIC
    assert sum(state(row_id)[1] for row_id in made) == SYSTEMIC


def test_rows_failing_each_in_its_own_way_are_judged_one_by_one(fresh_database: str) -> None:
    made = owe_jobs(8)
    errors = dict(zip(made, (ValueError(), KeyError(), TypeError(), OSError()) * 2, strict=True))
    BatchRun(JOBS, work(lambda row_id: errors[row_id])).run(claim())
    assert {tuple(attempt_outcomes(row_id)) for row_id in made} == {("retry",)}


def test_a_permanent_error_is_not_repeated(fresh_database: str) -> None:
    made = owe_jobs(4)
    BatchRun(JOBS, work(fail_on(made[0], Permanent("never")))).run(claim())
    assert jobs_done() == set(made[1:])
    assert state(made[0]) == ("dead", 1, 1)
    assert attempt_outcomes(made[0]) == ["dead"]


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "stands"),
    [
        (ValueError("this one"), ("queued", 1, 1)),
        (Permanent("never"), ("dead", 1, 1)),
        (Transient("store away"), ("queued", 0, 1)),
    ],
    ids=["tried again", "never again", "postponed"],
)
def test_an_error_outside_a_transaction_counts_as_one_inside(
    fresh_database: str, error: Exception, stands: tuple[str, int, int]
) -> None:
    (bad,) = owe_jobs(1)
    (row,) = claim()
    with counting_failures(row):
        fail(error)
    assert state(bad) == stands


def test_an_error_outside_a_transaction_leaves_a_job_taken_back_alone(fresh_database: str) -> None:
    (bad,) = owe_jobs(1)
    (row,) = claim()
    change("UPDATE job SET claim = claim + 1")
    with counting_failures(row):
        fail(ValueError("this one"))
    assert (state(bad), attempt_outcomes(bad)) == (("running", 0, 2), [])


def test_work_whose_row_was_taken_back_leaves_nothing(fresh_database: str) -> None:
    made = owe_jobs(2)
    mine = claim()
    change("UPDATE job SET claim = claim + 1, worker = NULL WHERE id = :id", id=made[0])
    do_all(mine)
    assert jobs_done() == {made[1]}
    assert state(made[0]) == ("running", 0, 2)


def test_a_batch_that_was_taken_back_as_a_whole_does_nothing(fresh_database: str) -> None:
    made = owe_jobs(2)
    mine = claim()
    change("UPDATE job SET claim = claim + 1")
    do_all(mine)
    assert jobs_done() == set()
    assert {state(row_id) for row_id in made} == {("running", 0, 2)}


def test_an_outage_while_the_failure_is_recorded_loses_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bad,) = owe_jobs(1)
    mine = claim()

    def away(*_: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("gone"))

    with monkeypatch.context() as during:
        during.setattr(books, "set_back", away)
        BatchRun(JOBS, work(fail_on(bad, ValueError()))).run(mine)
    assert state(bad) == ("running", 0, 1)
    change("UPDATE job SET leased_until = now() - interval '1 second'")
    with transaction() as session:
        books.rescue(session, JOBS)
    do_all(claim())
    assert state(bad)[0] == "succeeded"
