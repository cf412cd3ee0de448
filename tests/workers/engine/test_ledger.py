"""The ledger on real PostgreSQL: who claims which rows, lane after lane, in which order; which queues have due rows."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

from sqlalchemy import text

from tests.kit.builders.ledgers import (
    KIND,
    ME,
    QUEUE,
    WAITING_FOR_A_LOCK,
    both,
    claim,
    failed_attempt,
    finished,
    ids,
    lane,
    look,
    owe,
)
from tests.kit.processes.support import rows, wait_until
from workers.database import Session, transaction
from workers.engine import ledger as books
from workers.engine.ledger import (
    EMAILS,
    FIRST_LANE,
    JOBS,
    Claimed,
    ClaimedRow,
    Ledger,
)


def test_mails_of_a_lane_are_claimed_in_the_order_they_are_due(session: Session) -> None:
    late, early, between = (owe(session, EMAILS, due=due) for due in (-1, -3, -2))
    assert ids(claim(session, EMAILS)) == [early, between, late]


def test_jobs_of_a_lane_are_claimed_in_the_order_they_were_recorded(session: Session) -> None:
    made = [owe(session, JOBS, due=due) for due in (-1, -3, -2)]
    assert ids(claim(session, JOBS)) == made


def test_a_postponed_job_is_not_overtaken_by_those_recorded_after_it(session: Session) -> None:
    first, second = owe(session, JOBS), owe(session, JOBS)
    other = owe(session, JOBS, lane=lane(2))
    (row,) = claim(session, JOBS, size=1)
    books.set_back(session, JOBS, [failed_attempt(JOBS, row, "postponed", 30.0, counts=False)])
    assert ids(claim(session, JOBS)) == [other]
    session.execute(text("UPDATE job SET due_at = now() WHERE id = :id"), {"id": first})
    assert ids(claim(session, JOBS)) == [first, second]


def test_a_job_postponed_twice_is_tried_alone(session: Session) -> None:
    first, second = owe(session, JOBS), owe(session, JOBS)
    for _ in range(2):
        (row, *_) = claim(session, JOBS, size=1)
        books.set_back(session, JOBS, [failed_attempt(JOBS, row, "postponed", 0.0, counts=False)])
    (alone,) = claim(session, JOBS)
    assert (alone.id, alone.postponements) == (first, 2)
    books.finish(session, JOBS, finished(JOBS, [alone]))
    assert ids(claim(session, JOBS)) == [second]


def test_a_job_that_failed_does_not_hold_up_its_lane(session: Session) -> None:
    _, second = owe(session, JOBS), owe(session, JOBS)
    (row,) = claim(session, JOBS, size=1)
    books.set_back(session, JOBS, [failed_attempt(JOBS, row, "retry", 30.0)])
    assert ids(claim(session, JOBS)) == [second]


def test_a_rescued_job_keeps_its_place(session: Session) -> None:
    first, second = owe(session, JOBS), owe(session, JOBS)
    claim(session, JOBS, size=1, lease=-1)
    books.rescue(session, JOBS)
    assert ids(claim(session, JOBS)) == [first, second]


@both
def test_rows_due_at_the_same_time_are_claimed_in_the_order_they_came(
    session: Session, ledger: Ledger[Claimed]
) -> None:
    made = [owe(session, ledger, due=-1) for _ in range(5)]
    assert ids(claim(session, ledger, size=3)) == made[:3]


@both
def test_a_claim_records_its_worker_and_its_end(session: Session, ledger: Ledger[Claimed]) -> None:
    row_id = owe(session, ledger)
    (row,) = claim(session, ledger, lease=12)
    seen = look(session, ledger, row_id)
    assert (row.claim, row.failures, row.rescues, row.lane) == (1, 0, 0, lane(1))
    assert (seen["state"], seen["claim"], seen["worker"]) == (ledger.running, 1, ME)
    assert float(seen["leased_for"]) == 12
    assert seen["started_at"] is not None
    assert row.columns.kind == KIND[ledger.table]


@both
def test_a_claim_takes_no_more_than_asked_and_nothing_that_is_not_due(
    session: Session, ledger: Ledger[Claimed]
) -> None:
    due = [owe(session, ledger, lane=lane(n)) for n in (1, 2, 3)]
    owe(session, ledger, due=5)
    owe(session, ledger, queue="maintenance")
    assert ids(claim(session, ledger, size=2)) == due[:2]
    assert ids(claim(session, ledger, size=2, cursor=lane(2))) == due[2:]
    assert claim(session, ledger) == []


@both
def test_lanes_have_their_turn_and_the_first_follows_the_last(session: Session, ledger: Ledger[Claimed]) -> None:
    for n in (1, 2, 3):
        for _ in range(2):
            owe(session, ledger, lane=lane(n))
    seen, cursor = [], FIRST_LANE
    for _ in range(6):
        (row,) = claim(session, ledger, size=1, cursor=cursor)
        books.finish(session, ledger, finished(ledger, [row]))
        seen.append(row.lane.int)
        cursor = row.lane
    assert seen == [1, 2, 3, 1, 2, 3]


def test_a_lane_that_is_being_done_is_left_alone(session: Session) -> None:
    first, _ = owe(session, JOBS), owe(session, JOBS)
    other = owe(session, JOBS, lane=lane(2))
    assert ids(claim(session, JOBS, size=1)) == [first]
    assert ids(claim(session, JOBS)) == [other]


def test_mails_of_one_lane_are_sent_side_by_side(session: Session) -> None:
    first, second = owe(session, EMAILS), owe(session, EMAILS)
    assert ids(claim(session, EMAILS, size=1)) == [first]
    assert ids(claim(session, EMAILS)) == [second]


def test_lanes_that_are_being_done_do_not_hide_the_free_one_behind_them(session: Session) -> None:
    for n in (1, 2, 3):
        for _ in range(2):
            owe(session, JOBS, lane=lane(n))
    free = owe(session, JOBS, lane=lane(4))
    for n in (1, 2, 3):
        (row,) = claim(session, JOBS, size=1, cursor=lane(n - 1))
        assert row.lane == lane(n)
    assert ids(claim(session, JOBS, size=1)) == [free]


def test_two_claims_at_once_do_not_share_a_lane(fresh_database: str) -> None:
    with transaction() as session:
        made = [owe(session, JOBS, due=-10 + n) for n in range(4)]

    def second() -> list[UUID]:
        with transaction() as other:
            return ids(claim(other, JOBS, size=2))

    with ThreadPoolExecutor(1) as pool:
        with transaction() as session:
            assert ids(claim(session, JOBS, size=2)) == made[:2]
            later = pool.submit(second)
            waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            while not later.done() and not session.execute(waiting).scalar():
                pass
        assert later.result() == []


@both
def test_claimers_side_by_side_never_share_a_row(fresh_database: str, ledger: Ledger[Claimed]) -> None:
    with transaction() as session:
        made = {owe(session, ledger, lane=lane(n % 10 + 1)) for n in range(200)}
    start = Barrier(4)

    def take() -> list[UUID]:
        start.wait()
        mine: list[UUID] = []
        for _ in range(100):
            with transaction() as session:
                rows = claim(session, ledger, size=7)
            with transaction() as session:
                books.finish(session, ledger, finished(ledger, books.hold(session, ledger, rows)))
            mine += ids(rows)
        return mine

    with ThreadPoolExecutor(4) as pool:
        taken = [row_id for part in [pool.submit(take) for _ in range(4)] for row_id in part.result()]
    assert len(taken) == len(made)
    assert set(taken) == made


@both
def test_a_row_that_another_loss_would_make_dead_is_claimed_alone(session: Session, ledger: Ledger[Claimed]) -> None:
    made = [owe(session, ledger, lane=lane(n)) for n in (1, 2, 3)]
    for _ in range(2):
        claim(session, ledger, size=1, lease=-1)
        books.rescue(session, ledger)
    owe(session, ledger, lane=lane(1))
    (alone,) = claim(session, ledger)
    assert (alone.id, alone.rescues) == (made[0], 2)
    assert ids(claim(session, ledger))[:2] == made[1:]


def test_a_claim_remembers_when_it_was_asked_for(fresh_database: str) -> None:
    with transaction() as session:
        owe(session, JOBS)

    def work() -> list[ClaimedRow]:
        with transaction() as session:
            return claim(session, JOBS)

    with ThreadPoolExecutor(1) as pool, transaction() as other:
        other.execute(JOBS.turn_sql, {"queue": QUEUE})
        claiming = pool.submit(work)
        wait_until(lambda: rows(WAITING_FOR_A_LOCK))
        before_the_lease = time.monotonic()
        other.commit()
        [row] = claiming.result()
    assert 0 < row.asked_at < before_the_lease


def test_the_queues_of_both_ledgers_that_have_something_due(session: Session) -> None:
    owe(session, JOBS, queue="rosters")
    owe(session, JOBS, queue="rosters", due=9)
    owe(session, EMAILS, queue="emails")
    owe(session, EMAILS, queue="emails_bulk", due=9)
    owe(session, JOBS, queue="maintenance")
    books.claim(session, JOBS, "maintenance", size=1, lease=30, worker=ME)
    assert books.due_queues(session) == {"rosters", "emails"}


def test_nothing_due_wakes_no_queue(session: Session) -> None:
    assert books.due_queues(session) == set()
