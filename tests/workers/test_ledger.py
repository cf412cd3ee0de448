"""The ledger, on real PostgreSQL: who claims what, and that nobody finishes what is no longer theirs."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from tests.ledgers import QUEUE, attempts, lane, look, owe
from tests.support import rows, wait_until
from workers import ledger as books
from workers.database import Session, transaction
from workers.ledger import EMAILS, FIRST_LANE, JOBS, MAX_RESCUES, Claimed, Ledger, LostClaimError, Outcome, Setback

ME = UUID(int=7)
WAITING_FOR_A_LOCK = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
DONE = {"job": "succeeded", "email": "sent"}

both = pytest.mark.parametrize("ledger", [JOBS, EMAILS], ids=["job", "email"])


def claim(
    session: Session, ledger: Ledger, *, size: int = 100, lease: float = 30.0, cursor: UUID = FIRST_LANE
) -> list[Claimed]:
    return books.claim(session, ledger, QUEUE, size=size, lease=lease, worker=ME, cursor=cursor)


def ids(rows: Sequence[Claimed]) -> list[UUID]:
    return [row.id for row in rows]


def finished(ledger: Ledger, rows: Sequence[Claimed]) -> list[Outcome]:
    return [Outcome(row.id, row.claim, DONE[ledger.table], {"n": 1}) for row in rows]


def setback(ledger: Ledger, row: Claimed, outcome: str, seconds: float | None, *, counts: bool = True) -> Setback:
    state = ledger.dead if seconds is None else ledger.waiting
    return Setback(row.id, row.claim, state, seconds, outcome, {"class": "Wrong"}, counts)


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
    books.set_back(session, JOBS, [setback(JOBS, row, "postponed", 30.0, counts=False)])
    assert ids(claim(session, JOBS)) == [other]
    session.execute(text("UPDATE job SET due_at = now() WHERE id = :id"), {"id": first})
    assert ids(claim(session, JOBS)) == [first, second]


def test_a_job_that_failed_does_not_hold_up_its_lane(session: Session) -> None:
    _, second = owe(session, JOBS), owe(session, JOBS)
    (row,) = claim(session, JOBS, size=1)
    books.set_back(session, JOBS, [setback(JOBS, row, "retry", 30.0)])
    assert ids(claim(session, JOBS)) == [second]


def test_a_rescued_job_keeps_its_place(session: Session) -> None:
    first, second = owe(session, JOBS), owe(session, JOBS)
    claim(session, JOBS, size=1, lease=-1)
    books.rescue(session, JOBS)
    assert ids(claim(session, JOBS)) == [first, second]


@both
def test_rows_due_at_the_same_time_are_claimed_in_the_order_they_came(session: Session, ledger: Ledger) -> None:
    made = [owe(session, ledger, due=-1) for _ in range(5)]
    assert ids(claim(session, ledger, size=3)) == made[:3]


@both
def test_a_claim_says_whose_it_is_and_until_when(session: Session, ledger: Ledger) -> None:
    row_id = owe(session, ledger)
    (row,) = claim(session, ledger, lease=12)
    seen = look(session, ledger, row_id)
    assert (row.claim, row.failures, row.rescues, row.lane) == (1, 0, 0, lane(1))
    assert (seen["state"], seen["claim"], seen["worker"]) == (ledger.running, 1, ME)
    assert float(seen["leased_for"]) == 12
    assert seen["started_at"] is not None
    assert row.columns["kind"] == "put_company"


@both
def test_a_claim_takes_no_more_than_asked_and_nothing_that_is_not_due(session: Session, ledger: Ledger) -> None:
    due = [owe(session, ledger, lane=lane(n)) for n in (1, 2, 3)]
    owe(session, ledger, due=5)
    owe(session, ledger, queue="maintenance")
    assert ids(claim(session, ledger, size=2)) == due[:2]
    assert ids(claim(session, ledger, size=2, cursor=lane(2))) == due[2:]
    assert claim(session, ledger) == []


@both
def test_lanes_have_their_turn_and_the_first_follows_the_last(session: Session, ledger: Ledger) -> None:
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
def test_claimers_side_by_side_never_share_a_row(fresh_database: str, ledger: Ledger) -> None:
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
def test_rows_that_lost_one_lease_go_together(session: Session, ledger: Ledger) -> None:
    made = [owe(session, ledger, lane=lane(n)) for n in (1, 2, 3)]
    claim(session, ledger, lease=-1)
    assert len(books.rescue(session, ledger)) == 3
    again = claim(session, ledger)
    assert {row.id for row in again} == set(made)
    assert {row.rescues for row in again} == {1}


@both
def test_a_row_whose_next_loss_would_bury_it_is_claimed_alone(session: Session, ledger: Ledger) -> None:
    made = [owe(session, ledger, lane=lane(n)) for n in (1, 2, 3)]
    for _ in range(2):
        claim(session, ledger, size=1, lease=-1)
        books.rescue(session, ledger)
    owe(session, ledger, lane=lane(1))
    (alone,) = claim(session, ledger)
    assert (alone.id, alone.rescues) == (made[0], 2)
    assert ids(claim(session, ledger))[:2] == made[1:]


@both
def test_holding_drops_what_was_claimed_by_somebody_else_meanwhile(session: Session, ledger: Ledger) -> None:
    made = [owe(session, ledger, lane=lane(n)) for n in (1, 2)]
    mine = claim(session, ledger, lease=-1)
    books.rescue(session, ledger)
    (theirs,) = claim(session, ledger, size=1)
    assert theirs.id in made
    assert books.hold(session, ledger, mine) == []
    assert books.hold(session, ledger, [theirs]) == [theirs]


@both
def test_nothing_is_committed_when_a_row_was_taken_back(fresh_database: str, ledger: Ledger) -> None:
    with transaction() as session:
        kept, lost = (owe(session, ledger, lane=lane(n)) for n in (1, 2))
    with transaction() as session:
        mine = claim(session, ledger, lease=30)
    with transaction() as session:
        session.execute(text(f"UPDATE {ledger.table} SET claim = claim + 1 WHERE id = :id"), {"id": lost})
    with pytest.raises(LostClaimError), transaction() as session:
        books.finish(session, ledger, finished(ledger, mine))
    with transaction() as session:
        assert look(session, ledger, kept)["state"] == ledger.running
        assert look(session, ledger, lost)["state"] == ledger.running


@both
def test_a_finished_row_is_not_finished_again(session: Session, ledger: Ledger) -> None:
    row_id = owe(session, ledger)
    mine = claim(session, ledger)
    books.finish(session, ledger, finished(ledger, mine))
    seen = look(session, ledger, row_id)
    assert (seen["state"], seen["result"], seen["due_at"], seen["leased_until"]) == (
        DONE[ledger.table],
        {"n": 1},
        None,
        None,
    )
    assert seen["finished_at"] is not None
    assert claim(session, ledger) == []
    with pytest.raises(LostClaimError):
        books.finish(session, ledger, finished(ledger, mine))


@both
@pytest.mark.parametrize(
    ("outcome", "seconds", "counts", "failures"),
    [("retry", 20.0, True, 1), ("postponed", 0.5, False, 0), ("dead", None, True, 1)],
)
def test_a_setback_is_kept_and_counted(
    session: Session, ledger: Ledger, outcome: str, seconds: float | None, counts: bool, failures: int
) -> None:
    row_id = owe(session, ledger)
    (row,) = claim(session, ledger)
    books.set_back(session, ledger, [setback(ledger, row, outcome, seconds, counts=counts)])
    seen = look(session, ledger, row_id)
    assert seen["state"] == (ledger.dead if seconds is None else ledger.waiting)
    assert (seen["due_in"] if seconds is None else float(seen["due_in"])) == seconds
    assert (seen["finished_at"] is not None) == (seconds is None)
    assert (seen["failures"], seen["rescues"], seen["leased_until"]) == (failures, 0, None)
    assert seen["error"] == {"class": "Wrong"}
    assert attempts(session, row_id) == [(1, outcome)]


@both
def test_a_setback_of_a_row_no_longer_ours_does_nothing(session: Session, ledger: Ledger) -> None:
    row_id = owe(session, ledger)
    (mine,) = claim(session, ledger, lease=-1)
    books.rescue(session, ledger)
    (theirs,) = claim(session, ledger)
    books.set_back(session, ledger, [setback(ledger, mine, "dead", None)])
    books.give_back(session, ledger, [mine])
    assert look(session, ledger, row_id)["state"] == ledger.running
    assert attempts(session, row_id) == [(1, "rescued")]
    assert books.hold(session, ledger, [theirs]) == [theirs]


@both
def test_rows_given_back_are_as_if_they_had_not_been_taken(session: Session, ledger: Ledger) -> None:
    row_id = owe(session, ledger)
    session.execute(text(f"UPDATE {ledger.table} SET failures = 2, rescues = 1 WHERE id = :id"), {"id": row_id})
    before = look(session, ledger, row_id)
    books.give_back(session, ledger, claim(session, ledger))
    after = look(session, ledger, row_id)
    assert (after["state"], after["failures"], after["rescues"]) == (ledger.waiting, 2, 1)
    assert (after["due_at"], after["leased_until"]) == (before["due_at"], None)
    assert attempts(session, row_id) == []
    assert [row.claim for row in claim(session, ledger)] == [2]


@both
def test_a_lease_that_ran_out_is_taken_back(session: Session, ledger: Ledger) -> None:
    lost, live = owe(session, ledger, lane=lane(1)), owe(session, ledger, lane=lane(2))
    claim(session, ledger, size=1, lease=-1)
    claim(session, ledger, size=1, cursor=lane(1))
    assert books.rescue(session, ledger) == [(lost, QUEUE, 1)]
    seen = look(session, ledger, lost)
    assert (seen["state"], seen["failures"], seen["rescues"], seen["leased_until"]) == (ledger.waiting, 0, 1, None)
    assert float(seen["due_in"]) == -1  # as before: it keeps its place
    assert attempts(session, lost) == [(1, "rescued")]
    assert look(session, ledger, live)["state"] == ledger.running


@both
def test_a_row_inside_a_live_transaction_is_not_lost_whatever_its_lease_says(
    fresh_database: str, ledger: Ledger
) -> None:
    with transaction() as session:
        row_id = owe(session, ledger)
    with transaction() as session:
        mine = claim(session, ledger, lease=-1)
    with transaction() as working:
        assert books.hold(working, ledger, mine) == mine
        with transaction() as rescuer:
            assert books.rescue(rescuer, ledger) == []
        books.finish(working, ledger, finished(ledger, mine))
    with transaction() as session:
        assert look(session, ledger, row_id)["state"] == DONE[ledger.table]


@both
def test_a_row_that_loses_its_worker_three_times_is_buried(session: Session, ledger: Ledger) -> None:
    row_id = owe(session, ledger)
    for times in range(1, MAX_RESCUES + 1):
        claim(session, ledger, lease=-1)
        assert books.rescue(session, ledger) == [(row_id, QUEUE, times)]
    seen = look(session, ledger, row_id)
    assert (seen["state"], seen["due_at"], seen["leased_until"]) == (ledger.dead, None, None)
    assert seen["error"]["class"] == "WorkerLost"
    assert seen["finished_at"] is not None
    assert attempts(session, row_id) == [(1, "rescued"), (2, "rescued"), (3, "dead")]
    assert claim(session, ledger) == []


@both
def test_only_leases_still_ours_are_renewed(session: Session, ledger: Ledger) -> None:
    made = [owe(session, ledger, lane=lane(n)) for n in (1, 2)]
    mine = claim(session, ledger, size=1, lease=5)
    (lost,) = claim(session, ledger, size=1, lease=-1, cursor=lane(1))
    books.rescue(session, ledger)
    claim(session, ledger, lease=5)
    assert books.renew(session, ledger, [*mine, lost], lease=60) == {made[0]}
    assert [float(look(session, ledger, row_id)["leased_for"]) for row_id in made] == [60, 5]


@pytest.mark.parametrize("verb", ["renew", "finish", "set_back"])
@both
def test_rows_are_locked_in_one_order_whatever_order_they_come_in(
    fresh_database: str, ledger: Ledger, verb: str
) -> None:
    with transaction() as session:
        first, second = sorted(owe(session, ledger) for _ in range(2))
        mine = sorted(claim(session, ledger), key=lambda row: row.id, reverse=True)
        # Behind the other in the table too: a plan that reads it from its start would come upon the other first.
        session.execute(text(f"UPDATE {ledger.table} SET started_at = now() WHERE id = :id"), {"id": first})

    def work() -> None:
        with transaction() as session:
            if verb == "renew":
                books.renew(session, ledger, mine, lease=60)
            elif verb == "finish":
                books.finish(session, ledger, finished(ledger, mine))
            else:
                books.set_back(session, ledger, [setback(ledger, row, "retry", 9) for row in mine])

    free = text(f"SELECT id FROM {ledger.table} ORDER BY id FOR NO KEY UPDATE SKIP LOCKED")
    with ThreadPoolExecutor(1) as pool, transaction() as holding:
        holding.execute(text(f"SELECT 1 FROM {ledger.table} WHERE id = :id FOR NO KEY UPDATE"), {"id": first})
        working = pool.submit(work)
        wait_until(lambda: rows(WAITING_FOR_A_LOCK))
        with transaction() as looking:
            assert looking.execute(free).scalars().all() == [second]
        holding.commit()
        working.result()


def test_a_claim_remembers_when_it_was_asked_for(fresh_database: str) -> None:
    with transaction() as session:
        owe(session, JOBS)

    def work() -> list[Claimed]:
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


def test_nothing_due_rings_no_bell(session: Session) -> None:
    assert books.due_queues(session) == set()


@both
def test_a_dead_row_is_revived_with_all_its_attempts(session: Session, ledger: Ledger) -> None:
    row_id = owe(session, ledger)
    (row,) = claim(session, ledger)
    books.set_back(session, ledger, [setback(ledger, row, "dead", None)])
    assert books.revive(session, row_id) == QUEUE
    seen = look(session, ledger, row_id)
    assert (seen["state"], seen["failures"], seen["rescues"], seen["finished_at"]) == (ledger.waiting, 0, 0, None)
    assert [again.claim for again in claim(session, ledger)] == [2]


@both
def test_only_the_dead_are_revived(session: Session, ledger: Ledger) -> None:
    row_id = owe(session, ledger)
    assert books.revive(session, row_id) is None
    assert books.revive(session, new_id()) is None


@pytest.mark.parametrize(("count", "sizes"), [(2, (1, 1)), (3, (1, 2)), (7, (3, 4)), (8, (4, 4))])
def test_halves_leave_nobody_out(count: int, sizes: tuple[int, int]) -> None:
    rows = [Claimed(new_id(), 1, 0, 0, lane(1)) for _ in range(count)]
    left, right = books.halves(rows)
    assert (len(left), len(right)) == sizes
    assert [*left, *right] == rows
