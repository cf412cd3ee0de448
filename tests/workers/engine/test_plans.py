"""Statements of the hot paths find rows by index, on statistics that are wrong in every way they can be."""

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.benchmarks.history import SMALL, add_history, reference
from tests.benchmarks.population import add_catalog, contract, person
from tests.kit.builders.ledgers import QUEUE, both, claim, failed_attempt, finished, lane, owe
from tests.kit.processes.support import change
from workers.actors.registry import do_jobs
from workers.clock import WorkForClock, renew_lead, tick
from workers.database import Session, transaction
from workers.engine import ledger as books
from workers.engine.ledger import JOBS, Claimed, Ledger
from workers.enrollment.contracts import ContractKey, lock_contracts
from workers.requests.enrollment import Enroll

pytestmark = pytest.mark.usefixtures("fresh_database")

SIZE = 20
GROWING = ["account", "contract", "email", "enrollment", "idempotency", "job", "job_attempt", "link", "seat_movement"]

READ_SCANNED = text("""
    SELECT relname FROM pg_stat_xact_user_tables
    WHERE relname = ANY(CAST(:tables AS text[])) AND seq_scan > 0 ORDER BY relname""")

READ_ROWS = text("SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables")


def rows_read(session: Session) -> int:
    """Returns the number of rows of all tables that this transaction has read so far."""
    return int(session.execute(READ_ROWS).scalar_one())


def tables_read_whole(session: Session) -> list[str]:
    """Returns the growing tables that this transaction has read from end to end."""
    return list(session.execute(READ_SCANNED, {"tables": GROWING}).scalars())


def owe_jobs(session: Session, start: int, count: int, contracts: int = 1) -> None:
    """Records jobs that each enrol one new person."""
    for number in range(start, start + count):
        request = Enroll(contract=contract(number % contracts), people=[person(number)])
        owe(session, JOBS, kind="enroll", request=request.model_dump_json(), lane=lane(1 + number % contracts))


def do_batch(session: Session) -> int:
    """Claims and does a batch of jobs, as a worker does in two transactions; returns the number of rows read."""
    before = rows_read(session)
    held = books.hold(session, JOBS, claim(session, JOBS, size=SIZE))
    assert len(held) == SIZE
    books.finish(session, JOBS, do_jobs(session, held))
    return rows_read(session) - before


def test_plans_made_on_empty_tables_read_no_table_whole_when_it_has_grown() -> None:
    add_catalog(1)
    with transaction() as session:
        session.execute(text("ANALYZE"))  # from now on PostgreSQL takes every other table for empty
        for number in range(12):  # a plan is kept from the sixth use on
            owe_jobs(session, number * SIZE, SIZE)
            do_batch(session)
        assert tables_read_whole(session) == []


def test_a_batch_reads_as_many_rows_beside_a_long_history_as_without() -> None:
    read: list[int] = []
    for _ in range(2):
        if read:
            add_history(SMALL)
        else:
            add_catalog(10)
        with transaction() as session:
            owe_jobs(session, 0, SIZE * 4, contracts=10)
            read.append(max(do_batch(session) for _ in range(4)))
            session.rollback()
    assert read[1] <= 1.1 * read[0]


def test_a_claim_reads_no_running_work_of_the_lanes_it_does_not_visit() -> None:
    with transaction() as session:
        for number in range(400):
            owe(session, JOBS, lane=lane(1000 + number))
        assert len(claim(session, JOBS, size=400)) == 400
        for number in range(SIZE):
            owe(session, JOBS, lane=lane(1 + number))
        before = rows_read(session)
        assert len(claim(session, JOBS, size=SIZE)) == SIZE
        assert rows_read(session) - before <= 6 * SIZE


@pytest.mark.parametrize("verb", ["hold", "renew", "finish", "set_back", "give_back"])
@both
def test_the_end_of_some_work_reads_no_row_of_the_other_work_that_runs(ledger: Ledger[Claimed], verb: str) -> None:
    with transaction() as session:
        session.execute(text("ANALYZE"))  # no work runs, and the index of running work is taken for empty
        for number in range(400):
            owe(session, ledger, lane=lane(number))
        mine = claim(session, ledger, size=400)[:SIZE]
        before = rows_read(session)
        if verb == "hold":
            assert len(books.hold(session, ledger, mine)) == SIZE
        elif verb == "renew":
            assert len(books.renew(session, ledger, mine, lease=60)) == SIZE
        elif verb == "finish":
            books.finish(session, ledger, finished(ledger, mine))
        elif verb == "set_back":
            books.set_back(session, ledger, [failed_attempt(ledger, row, "retry", 9) for row in mine])
        else:
            books.give_back(session, ledger, mine)
        assert rows_read(session) - before <= 3 * SIZE


def test_locking_contracts_reads_no_other_contract() -> None:
    add_history(SMALL)
    with transaction() as session:
        named = [ContractKey(LOCAL_PORTAL_ID, reference(number)) for number in range(30)]
        before = rows_read(session)
        assert len(lock_contracts(session, named)) == len(named)
        assert rows_read(session) - before <= 2 * len(named)


@both
def test_finding_due_queues_reads_few_rows_however_many_wait(ledger: Ledger[Claimed]) -> None:
    with transaction() as session:
        session.execute(text("ANALYZE"))
        for number in range(600):
            owe(session, ledger, lane=lane(number))
        before = rows_read(session)
        assert books.due_queues(session) == {QUEUE}
        assert rows_read(session) - before <= 5


@both
def test_finding_due_queues_reads_few_rows_however_many_are_due_later(ledger: Ledger[Claimed]) -> None:
    with transaction() as session:
        session.execute(text("ANALYZE"))
        for number in range(600):
            owe(session, ledger, lane=lane(number), due=3_600)
        before = rows_read(session)
        assert books.due_queues(session) == set()
        assert rows_read(session) - before <= 5


@both
def test_ending_pauses_reads_the_postponed_and_not_what_is_due(ledger: Ledger[Claimed]) -> None:
    with transaction() as session:
        session.execute(text("ANALYZE"))
        for number in range(600):
            owe(session, ledger, lane=lane(number))
        held = claim(session, ledger, size=SIZE)
        books.set_back(session, ledger, [failed_attempt(ledger, row, "postponed", 60, counts=False) for row in held])
        before = rows_read(session)
        assert books.resume(session, ledger, QUEUE, after=None, most=SIZE) is not None
        assert rows_read(session) - before <= 3 * SIZE


@both
def test_a_round_of_the_clock_reads_few_rows_however_many_wait(ledger: Ledger[Claimed]) -> None:
    me = new_id()
    change("UPDATE schedule SET paused = true")
    tick(me)
    with transaction() as session:
        for number in range(600):
            owe(session, ledger, lane=lane(number))
    with transaction() as session:
        before = rows_read(session)
        assert renew_lead(session, me) == WorkForClock(lost=False, scheduled=False, due=[QUEUE])
        assert rows_read(session) - before <= 40  # schedules, processes and the clock itself too
