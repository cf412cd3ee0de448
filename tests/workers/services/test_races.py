"""Many at once on one contract: real processes and sessions, real commits; what the database says afterwards."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, Event
from typing import TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import JobState, Policy
from tests.contracts import accepted, add_contract, asking, codes, enrol, enrol_people, query, seats
from tests.racers import enrol_pairs, persist, race, work_until_done
from tests.support import rows, wait_until
from workers import ledger
from workers.actors.claimer import BatchRun
from workers.catalog_requests import PutContract
from workers.database import Session, transaction
from workers.ledger import JOBS
from workers.queues import Queue
from workers.services.catalog import Put, put_contract
from workers.services.jobs import do_jobs
from workers.services.maintenance import find_drift

FULL = Policy.UNTIL_FULL
SEATS, PROCESSES, PEOPLE = 300, 20, 50
LONGEST_WAIT = 30.0

T = TypeVar("T")


@pytest.fixture
def threads(fresh_database: str) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def contract(seats: int, *references: str) -> None:
    with transaction() as session:
        for reference in references or ("C-1",):
            add_contract(session, reference, seats)


def used(reference: str = "C-1") -> int:
    with transaction() as session:
        assert find_drift(session) == []
        return seats(session, reference)


def waiting_for_a_lock(number: int) -> Callable[[], bool]:
    """Whether so many sessions of this database wait for a lock of another."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return lambda: rows(waiting) == [(number,)]


# (a) More people than seats, all at once


def test_a_thousand_people_from_twenty_processes_take_three_hundred_seats(fresh_database: str) -> None:
    contract(SEATS)
    answers = race(enrol_pairs, [(f"q{number}", PEOPLE) for number in range(PROCESSES)])
    assert Counter(code for found, _ in answers for code in found) == {"enrolled": SEATS, "no_seat_left": 700}
    assert max(longest for _, longest in answers) < LONGEST_WAIT
    assert used() == SEATS
    assert rows("SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM link), count(DISTINCT enrollment_id)"
                ", count(*) FROM email") == [(SEATS,) * 4]  # fmt: skip


def test_a_thousand_people_through_the_ledger_take_three_hundred_seats(fresh_database: str) -> None:
    contract(SEATS)
    with transaction() as session:
        for number in range(0, PROCESSES * PEOPLE, 2):
            accepted(session, asking(f"p{number}", f"p{number + 1}", policy=FULL), f"key-{number}")
    batches = race(work_until_done, [()] * 4)
    assert sum(batches) >= 500 // 7
    assert rows("SELECT code, count(*) FROM job_person GROUP BY code ORDER BY code") == [
        ("enrolled", SEATS),
        ("no_seat_left", 700),
    ]
    assert rows("SELECT state, count(*) FROM job GROUP BY state ORDER BY state") == [
        ("refused", 350),
        ("succeeded", 150),
    ]
    assert rows("SELECT max(failures), max(rescues) FROM job") == [(0, 0)]
    assert used() == SEATS
    # One lane: the jobs were done in the order they were accepted.
    assert rows("SELECT max(j.id) FILTER (WHERE state = 'succeeded') < min(j.id) FILTER (WHERE state = 'refused')"
                " FROM (SELECT CAST(id AS text), state FROM job) j") == [(True,)]  # fmt: skip


# (b) The same new people from two sides


HELD = 4711
GATE = f"""
    CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NEW.email_norm LIKE 'm%' THEN PERFORM pg_advisory_xact_lock_shared({HELD}); END IF; RETURN NEW; END $$"""
SHUT = "CREATE TRIGGER gate BEFORE INSERT ON account FOR EACH ROW EXECUTE FUNCTION gate()"


def test_the_same_new_people_in_opposite_orders_do_not_deadlock(threads: ThreadPoolExecutor) -> None:
    """A gate in the middle of the alphabet holds the first session with half of its accounts inserted."""
    contract(10, "C-1", "C-2")
    names = ["a", "b", "m", "y", "z"]
    with transaction() as session:
        session.execute(text(GATE))
        session.execute(text(SHUT))
    with transaction() as keeper:
        keeper.execute(text(f"SELECT pg_advisory_xact_lock({HELD})"))
        first = threads.submit(persist, asking(*names))
        wait_until(waiting_for_a_lock(1))
        second = threads.submit(persist, asking(*reversed(names), contract="C-2"))
        wait_until(waiting_for_a_lock(2))
    # The first is ahead, unless it waited at the gate for longer than it may for a lock and began again.
    assert sorted([first.result(30), second.result(30)]) == [["attached"] * 5, ["enrolled"] * 5]
    assert rows("SELECT count(*), count(DISTINCT email_norm) FROM account") == [(5, 5)]
    assert rows("SELECT count(*), count(DISTINCT account_id) FROM link") == [(5, 5)]
    assert rows("SELECT kind, count(*), count(DISTINCT account_id) FROM email GROUP BY kind ORDER BY kind") == [
        ("attachment", 5, 5),
        ("invitation", 5, 5),
    ]
    assert rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
    assert (used(), used("C-2")) == (5, 5)


def test_who_loses_the_race_to_make_an_account_makes_it_when_the_winner_gives_up(threads: ThreadPoolExecutor) -> None:
    contract(10, "C-1", "C-2")
    with transaction() as winner:
        enrol(winner, asking("a", "b"))
        second = threads.submit(persist, asking("b", "a", contract="C-2"))
        wait_until(waiting_for_a_lock(1))
        winner.rollback()
    assert second.result(30) == ["enrolled", "enrolled"]
    assert rows("SELECT kind FROM email") == [("invitation",), ("invitation",)]
    assert (used(), used("C-2")) == (0, 2)


def test_an_address_corrected_meanwhile_is_not_attached(threads: ThreadPoolExecutor) -> None:
    """The account moves to another address while somebody is enrolled under the old one: that is somebody else now."""
    contract(10, "C-1", "C-2")
    with transaction() as session:
        enrol_people(session, "a")
    with transaction() as correction:
        correction.execute(text("SELECT 1 FROM account FOR UPDATE"))
        second = threads.submit(persist, asking("a", contract="C-2"))
        wait_until(waiting_for_a_lock(1))
        correction.execute(text("UPDATE account SET email_norm = 'new@example.com'"))
    assert second.result(30) == ["enrolled"]
    assert rows("SELECT email_norm FROM account ORDER BY email_norm") == [("a@example.com",), ("new@example.com",)]
    assert used("C-2") == 1


# (c) The same request many times


def at_once(threads: ThreadPoolExecutor, number: int, run: Callable[[], T]) -> list[T]:
    """Runs something in so many threads, all let go together."""
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
    assert used() == 2


def test_the_same_claim_done_by_five_threads_has_one_effect(threads: ThreadPoolExecutor) -> None:
    contract(10)
    with transaction() as session:
        accepted(session, asking("a"))
    with transaction() as session:
        claimed = ledger.claim(session, JOBS, Queue.ENROLLMENTS, size=5, lease=30, worker=new_id())
    assert at_once(threads, 5, lambda: BatchRun(JOBS, do_jobs).run(claimed)) == [True] * 5
    assert rows("SELECT state, failures FROM job") == [("succeeded", 0)]
    assert rows("SELECT count(*) FROM email") == [(1,)]
    assert used() == 1


def test_one_person_enrolled_from_five_sides_at_once_takes_one_seat(threads: ThreadPoolExecutor) -> None:
    contract(10)
    found = at_once(threads, 5, lambda: persist(asking("a")))
    assert Counter(code for [code] in found) == {"enrolled": 1, "already_enrolled": 4}
    assert rows("SELECT (SELECT count(*) FROM account), count(*) FROM email") == [(1, 1)]
    assert used() == 1


def test_two_claims_at_once_do_not_share_a_lane(threads: ThreadPoolExecutor) -> None:
    """Else a person might be enrolled before the change of seats that was sent before them."""
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


# (d) Seats lowered meanwhile


def lower_to(planned_seats: int) -> Put:
    asked = PutContract(reference="C-1", company="acme", training="T-1", planned_seats=planned_seats)
    with transaction() as session:
        return put_contract(session, LOCAL_PORTAL_ID, new_id(), asked)


def test_lowering_waits_for_an_enrollment_and_is_refused_below_it(threads: ThreadPoolExecutor) -> None:
    contract(5)
    with transaction() as session:
        enrol_people(session, "a", "b", "c")
        lowered: Future[Put] = threads.submit(lower_to, 2)
        wait_until(waiting_for_a_lock(1))
    assert lowered.result(30) == Put(
        JobState.REFUSED, {"code": "seats_below_enrolled", "field": "planned_seats", "enrolled_count": 3}
    )
    assert rows("SELECT planned_seats FROM contract") == [(5,)]
    assert used() == 3


def test_an_enrollment_waits_for_lowering_and_keeps_to_it(threads: ThreadPoolExecutor) -> None:
    contract(5)
    lowered, release = Event(), Event()

    def lower_slowly() -> None:
        asked = PutContract(reference="C-1", company="acme", training="T-1", planned_seats=2)
        with transaction() as session:
            put_contract(session, LOCAL_PORTAL_ID, new_id(), asked)
            lowered.set()
            assert release.wait(30)

    slow = threads.submit(lower_slowly)
    assert lowered.wait(30)
    enrolled = threads.submit(persist, asking("a", "b", "c", policy=FULL))
    wait_until(waiting_for_a_lock(1))
    release.set()
    slow.result(30)
    assert enrolled.result(30) == ["enrolled", "enrolled", "no_seat_left"]
    assert used() == 2


def test_seats_moved_up_and_down_while_people_enrol_are_never_oversold(threads: ThreadPoolExecutor) -> None:
    contract(5)
    over = Event()

    def move() -> set[JobState]:
        states = set()
        while not over.is_set():
            states |= {lower_to(planned).state for planned in (2, 30, 4, 12)}
        return states

    moving = threads.submit(move)
    found = [threads.submit(enrol_pairs, f"q{number}", 20) for number in range(4)]
    enrolled = sum(Counter(future.result(60)[0])["enrolled"] for future in found)
    over.set()
    assert moving.result(30) <= {JobState.SUCCEEDED, JobState.REFUSED}
    assert used() == enrolled <= 30


# (e) What the database itself refuses


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
