"""Claims and the clock pass over queues and lanes that are paused; what runs is finished."""

from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from tests.kit.builders.ledgers import QUEUE, both, claim, finished, ids, lane, look, owe
from tests.workers.engine.test_plans import rows_read
from workers.database import Session, transaction
from workers.engine import ledger as books
from workers.engine.ledger import JOBS, Claimed, Ledger

PAUSE = """INSERT INTO queue_pause (id, queue, lane, reason, paused_by, until)
    VALUES (:id, :queue, :lane, 'a repair', 'shell:anne', now() + make_interval(secs => :seconds))"""


def pause(session: Session, queue: str = QUEUE, *, only: UUID | None = None, seconds: float = 60.0) -> None:
    session.execute(text(PAUSE), {"id": new_id(), "queue": queue, "lane": only, "seconds": seconds})


@both
def test_nothing_of_a_paused_queue_is_claimed_or_woken(session: Session, ledger: Ledger[Claimed]) -> None:
    row_id = owe(session, ledger)
    pause(session)
    assert (claim(session, ledger), books.due_queues(session)) == ([], set())
    session.execute(text("UPDATE queue_pause SET until = now()"))  # the moment at which it ends
    assert (ids(claim(session, ledger)), books.due_queues(session)) == ([row_id], set())


@both
def test_an_ended_pause_of_a_queue_wakes_it_by_the_clock(session: Session, ledger: Ledger[Claimed]) -> None:
    owe(session, ledger)
    pause(session)
    pause(session, "maintenance", seconds=99)
    session.execute(text("UPDATE queue_pause SET until = now() WHERE queue = :queue"), {"queue": QUEUE})
    assert books.due_queues(session) == {QUEUE}


@both
def test_the_other_lanes_of_a_paused_lane_go_on(session: Session, ledger: Ledger[Claimed]) -> None:
    rows = {number: owe(session, ledger, lane=lane(number)) for number in (1, 2, 3)}
    pause(session, only=lane(2))
    assert ids(claim(session, ledger)) == [rows[1], rows[3]]
    assert claim(session, ledger) == []


@both
def test_a_claim_of_one_row_finds_it_behind_paused_lanes(session: Session, ledger: Ledger[Claimed]) -> None:
    for number in (1, 2):
        owe(session, ledger, lane=lane(number))
        pause(session, only=lane(number))
    free = owe(session, ledger, lane=lane(3))
    assert ids(claim(session, ledger, size=1)) == [free]


@both
def test_a_pause_of_another_queue_or_an_ended_one_holds_nothing(session: Session, ledger: Ledger[Claimed]) -> None:
    row_id = owe(session, ledger)
    pause(session, "rosters")
    pause(session, seconds=-1)
    pause(session, only=lane(1), seconds=0)
    assert ids(claim(session, ledger)) == [row_id]


@both
def test_what_runs_when_its_queue_is_paused_is_finished(session: Session, ledger: Ledger[Claimed]) -> None:
    row_id = owe(session, ledger)
    held = claim(session, ledger)
    pause(session)
    held = books.hold(session, ledger, held)
    books.finish(session, ledger, finished(ledger, held))
    assert look(session, ledger, row_id)["finished_at"] is not None


@pytest.mark.usefixtures("fresh_database")
@pytest.mark.parametrize("whole", [True, False], ids=["queue", "lane"])
def test_a_claim_reads_few_rows_of_what_is_paused(whole: bool) -> None:
    with transaction() as session:
        session.execute(text("ANALYZE"))
        for _ in range(300):
            owe(session, JOBS, lane=lane(1))
        for number in range(500):
            pause(session, seconds=-60 - number)
        pause(session, only=None if whole else lane(1))
        before = rows_read(session)
        assert claim(session, JOBS) == []
        # The cursor of a claim begins at the first lane, so it walks once; pauses that ended are passed over by index.
        assert rows_read(session) - before <= 10
