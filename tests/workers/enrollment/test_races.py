"""The same people or the same request from many sides at once: real sessions, and the final rows of the database."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from models.base import new_id
from tests.kit.actors.committed_jobs import contract, seats_used
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    asking,
    codes,
    enrol,
    enrol_people,
    query,
    seats,
)
from tests.kit.processes.support import rows, wait_until
from tests.kit.races.racers import enrol_until_done, waiting_for_a_lock, work_until_done
from workers.actors.registry import do_jobs
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.ops.reconciliation import find_drift
from workers.requests.queues import Queue

T = TypeVar("T")
# The same new people from two sides


HELD = 4711

GATE = f"""
    CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NEW.email_norm LIKE 'm%' THEN PERFORM pg_advisory_xact_lock_shared({HELD}); END IF; RETURN NEW; END $$"""

SHUT = "CREATE TRIGGER gate BEFORE INSERT ON account FOR EACH ROW EXECUTE FUNCTION gate()"


def test_the_same_new_people_in_opposite_orders_do_not_deadlock(threads: ThreadPoolExecutor) -> None:
    """A lock in the middle of the alphabet stops the first session with half of its accounts inserted."""
    contract(10, "C-1", "C-2")
    names = ["a", "b", "m", "y", "z"]
    with transaction() as session:
        session.execute(text(GATE))
        session.execute(text(SHUT))
    with transaction() as keeper:
        keeper.execute(text(f"SELECT pg_advisory_xact_lock({HELD})"))
        first = threads.submit(enrol_until_done, asking(*names))
        wait_until(waiting_for_a_lock(1))
        second = threads.submit(enrol_until_done, asking(*reversed(names), contract="C-2"))
        wait_until(waiting_for_a_lock(2))
    # The first is ahead, unless its wait at the lock reached the time limit and it began again.
    assert sorted([first.result(30), second.result(30)]) == [["attached"] * 5, ["enrolled"] * 5]
    assert rows("SELECT count(*), count(DISTINCT email_norm) FROM account") == [(5, 5)]
    assert rows("SELECT count(*), count(DISTINCT account_id) FROM link") == [(5, 5)]
    assert rows("SELECT kind, count(*), count(DISTINCT account_id) FROM email GROUP BY kind ORDER BY kind") == [
        ("attachment", 5, 5),
        ("invitation", 5, 5),
    ]
    assert rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
    assert (seats_used(), seats_used("C-2")) == (5, 5)


def test_the_loser_creates_the_account_when_the_winner_rolls_back(threads: ThreadPoolExecutor) -> None:
    contract(10, "C-1", "C-2")
    with transaction() as winner:
        enrol(winner, asking("a", "b"))
        second = threads.submit(enrol_until_done, asking("b", "a", contract="C-2"))
        wait_until(waiting_for_a_lock(1))
        winner.rollback()
    assert second.result(30) == ["enrolled", "enrolled"]
    assert rows("SELECT kind FROM email") == [("invitation",), ("invitation",)]
    assert (seats_used(), seats_used("C-2")) == (0, 2)


def test_an_address_corrected_meanwhile_is_not_attached(threads: ThreadPoolExecutor) -> None:
    """The account gets another address while a person is enrolled under the old one, which is then another person."""
    contract(10, "C-1", "C-2")
    with transaction() as session:
        enrol_people(session, "a")
    with transaction() as correction:
        correction.execute(text("SELECT 1 FROM account FOR UPDATE"))
        second = threads.submit(enrol_until_done, asking("a", contract="C-2"))
        wait_until(waiting_for_a_lock(1))
        correction.execute(text("UPDATE account SET email_norm = 'new@example.com'"))
    assert second.result(30) == ["enrolled"]
    assert rows("SELECT email_norm FROM account ORDER BY email_norm") == [("a@example.com",), ("new@example.com",)]
    assert seats_used("C-2") == 1


# The same request many times


def at_once(threads: ThreadPoolExecutor, number: int, run: Callable[[], T]) -> list[T]:
    """Runs a function in this many threads, which all start at the same moment."""
    barrier = Barrier(number)

    def one() -> T:
        barrier.wait(10)
        return run()

    return [future.result(30) for future in [threads.submit(one) for _ in range(number)]]


def test_the_same_request_five_times_at_once_is_one_job_with_one_effect(threads: ThreadPoolExecutor) -> None:
    contract(10)
    request = asking("a", "b", report_to="chef@example.com")

    def send() -> object:
        with transaction() as session:
            return accepted(session, request, "one-key")

    assert len(set(at_once(threads, 5, send))) == 1
    at_once(threads, 5, work_until_done)
    assert rows("SELECT state, claim FROM job") == [("succeeded", 1)]
    assert rows("SELECT kind, to_address FROM email ORDER BY kind, to_address") == [
        ("enrollment_report", "chef@example.com"),
        ("invitation", "a@example.com"),
        ("invitation", "b@example.com"),
    ]
    assert seats_used() == 2


def test_the_same_claim_done_by_five_threads_has_one_effect(threads: ThreadPoolExecutor) -> None:
    contract(10)
    with transaction() as session:
        accepted(session, asking("a"))
    with transaction() as session:
        claimed = ledger.claim(session, JOBS, Queue.ENROLLMENTS, size=5, lease=30, worker=new_id())
    assert at_once(threads, 5, lambda: BatchRun(JOBS, do_jobs).run(claimed)) == [True] * 5
    assert rows("SELECT state, failures FROM job") == [("succeeded", 0)]
    assert rows("SELECT count(*) FROM email") == [(1,)]
    assert seats_used() == 1


def test_one_person_enrolled_from_five_sides_at_once_takes_one_seat(threads: ThreadPoolExecutor) -> None:
    contract(10)
    found = at_once(threads, 5, lambda: enrol_until_done(asking("a")))
    assert Counter(code for [code] in found) == {"enrolled": 1, "already_enrolled": 4}
    assert rows("SELECT (SELECT count(*) FROM account), count(*) FROM email") == [(1, 1)]
    assert seats_used() == 1


def test_two_claims_at_once_do_not_share_a_lane(threads: ThreadPoolExecutor) -> None:
    """Otherwise a person might be enrolled before an earlier change of seats."""
    contract(10)
    with transaction() as session:
        jobs = [accepted(session, asking(name), name) for name in "ab"]

    def claim(session: Session) -> list[object]:
        claimed = ledger.claim(session, JOBS, Queue.ENROLLMENTS, size=1, lease=30, worker=new_id())
        return [row.id for row in claimed]

    def claim_second() -> list[object]:
        with transaction() as session:
            return claim(session)

    with transaction() as first:
        assert claim(first) == jobs[:1]
        second = threads.submit(claim_second)
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == []


# Constraints of the database


ENROL_AGAIN = """
    INSERT INTO enrollment (id, contract_id, account_id)
    SELECT gen_random_uuid(), contract_id, account_id FROM enrollment"""

LINK_AGAIN = """
    INSERT INTO link (id, purpose, account_id, key_id, expires_at)
    SELECT gen_random_uuid(), purpose, account_id, key_id, expires_at FROM link"""

ACCOUNT_AGAIN = """
    INSERT INTO account (id, email_norm, first_name, last_name, locale)
    SELECT gen_random_uuid(), email_norm, 'X', 'Y', 'fr' FROM account"""

MAIL_AGAIN = """
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state)
    SELECT gen_random_uuid(), kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state
    FROM email"""


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE contract SET enrolled_count = planned_seats + 1", "ck_contract_seats"),
        ("UPDATE contract SET enrolled_count = -1", "ck_contract_seats"),
        ("UPDATE contract SET planned_seats = 0", "ck_contract_seats"),
        ("UPDATE contract SET starts_on = '2026-02-01', ends_on = '2026-01-31'", "ck_contract_dates"),
        (ENROL_AGAIN, "uq_enrollment_live"),
        (LINK_AGAIN, "uq_link_live"),
        (ACCOUNT_AGAIN, "uq_account_email_norm"),
        (MAIL_AGAIN, "uq_email_dedup_key"),
        ("UPDATE seat_movement SET change = 0", "ck_seat_movement_change"),
        ("UPDATE seat_movement SET change = 2", "ck_seat_movement_change"),
        ("UPDATE enrollment SET progress = 'finished'", "ck_enrollment_progress"),
        ("DELETE FROM account", "fk_"),
        ("DELETE FROM contract", "fk_"),
    ],
)
def test_the_database_itself_refuses(session: Session, statement: str, constraint: str) -> None:
    add_contract(session, seats=1)
    enrol_people(session, "a")
    with pytest.raises(IntegrityError, match=constraint):
        session.execute(text(statement))


def test_a_withdrawn_person_may_be_enrolled_again(session: Session) -> None:
    add_contract(session, seats=1)
    enrol_people(session, "a")
    session.execute(text("UPDATE enrollment SET withdrawn_at = now()"))
    session.execute(text("INSERT INTO seat_movement (contract_id, enrollment_id, change)"
                         " SELECT contract_id, id, -1 FROM enrollment"))  # fmt: skip
    session.execute(text("UPDATE contract SET enrolled_count = 0"))
    [answer] = enrol(session, asking("a"))
    assert (codes(answer), seats(session), find_drift(session)) == (["attached"], 1, [])
    assert query(session, "SELECT count(*), count(withdrawn_at) FROM enrollment") == [(2, 1)]
