"""The ledger on real PostgreSQL: how rows end or go back, and that a lost row cannot be finished by its
former owner.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from models.base import new_id
from tests.kit.builders.ledgers import (
    DONE,
    QUEUE,
    WAITING_FOR_A_LOCK,
    attempts,
    both,
    claim,
    failed_attempt,
    finished,
    lane,
    look,
    owe,
)
from tests.kit.processes.support import rows, wait_until
from workers.database import Session, transaction
from workers.engine import ledger as books
from workers.engine.ledger import (
    MAX_RESCUES,
    Claimed,
    ClaimedRow,
    JobColumns,
    Ledger,
    LostClaimError,
)


@both
def test_rows_that_lost_one_lease_go_together(session: Session, ledger: Ledger[Claimed]) -> None:
    made = [owe(session, ledger, lane=lane(n)) for n in (1, 2, 3)]
    claim(session, ledger, lease=-1)
    assert len(books.rescue(session, ledger)) == 3
    again = claim(session, ledger)
    assert {row.id for row in again} == set(made)
    assert {row.rescues for row in again} == {1}


@both
def test_holding_drops_rows_that_another_worker_claimed_meanwhile(session: Session, ledger: Ledger[Claimed]) -> None:
    made = [owe(session, ledger, lane=lane(n)) for n in (1, 2)]
    mine = claim(session, ledger, lease=-1)
    books.rescue(session, ledger)
    (theirs,) = claim(session, ledger, size=1)
    assert theirs.id in made
    assert books.hold(session, ledger, mine) == []
    assert books.hold(session, ledger, [theirs]) == [theirs]


@both
def test_nothing_is_committed_when_a_row_was_taken_back(fresh_database: str, ledger: Ledger[Claimed]) -> None:
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
def test_a_finished_row_is_not_finished_again(session: Session, ledger: Ledger[Claimed]) -> None:
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
    session: Session, ledger: Ledger[Claimed], outcome: str, seconds: float | None, counts: bool, failures: int
) -> None:
    row_id = owe(session, ledger)
    (row,) = claim(session, ledger)
    books.set_back(session, ledger, [failed_attempt(ledger, row, outcome, seconds, counts=counts)])
    seen = look(session, ledger, row_id)
    assert seen["state"] == (ledger.dead if seconds is None else ledger.waiting)
    assert (seen["due_in"] if seconds is None else float(seen["due_in"])) == seconds
    assert (seen["finished_at"] is not None) == (seconds is None)
    assert (seen["failures"], seen["rescues"], seen["leased_until"]) == (failures, 0, None)
    assert seen["error"] == {"class": "Wrong"}
    assert attempts(session, row_id) == [(1, outcome)]


@both
def test_a_setback_of_a_row_no_longer_ours_does_nothing(session: Session, ledger: Ledger[Claimed]) -> None:
    row_id = owe(session, ledger)
    (mine,) = claim(session, ledger, lease=-1)
    books.rescue(session, ledger)
    (theirs,) = claim(session, ledger)
    books.set_back(session, ledger, [failed_attempt(ledger, mine, "dead", None)])
    books.give_back(session, ledger, [mine])
    assert look(session, ledger, row_id)["state"] == ledger.running
    assert attempts(session, row_id) == [(1, "rescued")]
    assert books.hold(session, ledger, [theirs]) == [theirs]


@both
def test_rows_given_back_are_as_if_they_had_not_been_taken(session: Session, ledger: Ledger[Claimed]) -> None:
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
def test_a_lease_that_ran_out_is_taken_back(session: Session, ledger: Ledger[Claimed]) -> None:
    lost, live = owe(session, ledger, lane=lane(1)), owe(session, ledger, lane=lane(2))
    claim(session, ledger, size=1, lease=-1)
    claim(session, ledger, size=1, cursor=lane(1))
    assert books.rescue(session, ledger) == [(lost, QUEUE, 1)]
    seen = look(session, ledger, lost)
    assert (seen["state"], seen["failures"], seen["rescues"], seen["leased_until"]) == (ledger.waiting, 0, 1, None)
    assert float(seen["due_in"]) == -1  # unchanged: it keeps its place
    assert attempts(session, lost) == [(1, "rescued")]
    assert look(session, ledger, live)["state"] == ledger.running


@both
def test_a_row_inside_a_live_transaction_is_not_lost_when_its_lease_ends(
    fresh_database: str, ledger: Ledger[Claimed]
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
def test_a_row_that_loses_its_worker_three_times_is_buried(session: Session, ledger: Ledger[Claimed]) -> None:
    row_id = owe(session, ledger)
    for times in range(1, MAX_RESCUES + 1):
        claim(session, ledger, lease=-1)
        assert books.rescue(session, ledger) == [(row_id, QUEUE, times)]
    seen = look(session, ledger, row_id)
    assert (seen["state"], seen["due_at"], seen["leased_until"]) == (ledger.dead, None, None)
    assert seen["error"]["class"] == "WorkerLost"
    trouble = session.execute(text(f"SELECT trouble FROM {ledger.table} WHERE id = :id"), {"id": row_id})
    assert trouble.scalar_one() == "WorkerLost||# workers were lost while they did this"
    assert seen["finished_at"] is not None
    assert attempts(session, row_id) == [(1, "rescued"), (2, "rescued"), (3, "dead")]
    assert claim(session, ledger) == []


@both
def test_only_leases_still_ours_are_renewed(session: Session, ledger: Ledger[Claimed]) -> None:
    made = [owe(session, ledger, lane=lane(n)) for n in (1, 2)]
    mine = claim(session, ledger, size=1, lease=5)
    (lost,) = claim(session, ledger, size=1, lease=-1, cursor=lane(1))
    books.rescue(session, ledger)
    claim(session, ledger, lease=5)
    assert books.renew(session, ledger, [*mine, lost], lease=60) == {made[0]}
    assert [float(look(session, ledger, row_id)["leased_for"]) for row_id in made] == [60, 5]


@pytest.mark.parametrize("verb", ["renew", "finish", "set_back"])
@both
def test_rows_are_always_locked_in_the_same_order(fresh_database: str, ledger: Ledger[Claimed], verb: str) -> None:
    with transaction() as session:
        first, second = sorted(owe(session, ledger) for _ in range(2))
        mine = sorted(claim(session, ledger), key=lambda row: row.id, reverse=True)
        # This row is also behind the other in the table: a sequential scan would find the other first.
        session.execute(text(f"UPDATE {ledger.table} SET started_at = now() WHERE id = :id"), {"id": first})

    def work() -> None:
        with transaction() as session:
            if verb == "renew":
                books.renew(session, ledger, mine, lease=60)
            elif verb == "finish":
                books.finish(session, ledger, finished(ledger, mine))
            else:
                books.set_back(session, ledger, [failed_attempt(ledger, row, "retry", 9) for row in mine])

    free = text(f"SELECT id FROM {ledger.table} ORDER BY id FOR NO KEY UPDATE SKIP LOCKED")
    with ThreadPoolExecutor(1) as pool, transaction() as holding:
        holding.execute(text(f"SELECT 1 FROM {ledger.table} WHERE id = :id FOR NO KEY UPDATE"), {"id": first})
        working = pool.submit(work)
        wait_until(lambda: rows(WAITING_FOR_A_LOCK))
        with transaction() as looking:
            assert looking.execute(free).scalars().all() == [second]
        holding.commit()
        working.result()


@both
def test_a_dead_row_is_revived_with_all_its_attempts(session: Session, ledger: Ledger[Claimed]) -> None:
    row_id = owe(session, ledger)
    (row,) = claim(session, ledger)
    books.set_back(session, ledger, [failed_attempt(ledger, row, "dead", None)])
    assert books.revive(session, row_id) == QUEUE
    seen = look(session, ledger, row_id)
    assert (seen["state"], seen["failures"], seen["rescues"], seen["finished_at"]) == (ledger.waiting, 0, 0, None)
    assert [again.claim for again in claim(session, ledger)] == [2]


@both
def test_only_the_dead_are_revived(session: Session, ledger: Ledger[Claimed]) -> None:
    row_id = owe(session, ledger)
    assert books.revive(session, row_id) is None
    assert books.revive(session, new_id()) is None


@pytest.mark.parametrize(("count", "sizes"), [(2, (1, 1)), (3, (1, 2)), (7, (3, 4)), (8, (4, 4))])
def test_halves_leave_no_row_out(count: int, sizes: tuple[int, int]) -> None:
    columns = JobColumns("enroll", new_id(), "{}", 0, "")
    rows = [ClaimedRow(new_id(), 1, 0, 0, lane(1), columns) for _ in range(count)]
    left, right = books.halves(rows)
    assert (len(left), len(right)) == sizes
    assert [*left, *right] == rows


@both
def test_failures_carry_their_trouble_until_ops_revive_them(session: Session, ledger: Ledger[Claimed]) -> None:
    row_id = owe(session, ledger)
    [row] = claim(session, ledger)
    error = {"class": "KeyError", "message": f"no {row_id} for 'Zoé'"}
    failed = replace(failed_attempt(ledger, row, "dead", None), error=error)
    books.set_back(session, ledger, [failed])
    trouble = text(f"SELECT trouble FROM {ledger.table} WHERE id = :id")
    assert session.execute(trouble, {"id": row_id}).scalar_one() == "KeyError||no # for #"
    assert books.revive(session, row_id) is not None
    assert session.execute(trouble, {"id": row_id}).scalar_one() is None
