"""More people than seats, and seats that change at the same time: real processes and sessions; never oversold."""

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import JobState, Policy
from tests.kit.actors.committed_jobs import contract, seats_used
from tests.kit.builders.contracts import accepted, asking, enrol_people
from tests.kit.processes.support import rows, wait_until
from tests.kit.races.racers import (
    enrol_pairs,
    enrol_until_done,
    race,
    waiting_for_a_lock,
    work_until_done,
)
from workers.catalog.records import CatalogOutcome, put_contract
from workers.database import transaction
from workers.requests.catalog import PutContract

FULL = Policy.UNTIL_FULL
SEATS, PROCESSES, PEOPLE = 300, 20, 50
LONGEST_WAIT = 30.0


# More people than seats, all at once


def test_a_thousand_people_from_twenty_processes_take_three_hundred_seats(fresh_database: str) -> None:
    contract(SEATS)
    answers = race(enrol_pairs, [(f"q{number}", PEOPLE) for number in range(PROCESSES)])
    assert Counter(code for found, _ in answers for code in found) == {"enrolled": SEATS, "no_seat_left": 700}
    assert max(longest for _, longest in answers) < LONGEST_WAIT
    assert seats_used() == SEATS
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
    assert seats_used() == SEATS
    # One lane: the jobs were done in the order they were accepted.
    assert rows("SELECT max(j.id) FILTER (WHERE state = 'succeeded') < min(j.id) FILTER (WHERE state = 'refused')"
                " FROM (SELECT CAST(id AS text), state FROM job) j") == [(True,)]  # fmt: skip


# Seats lowered meanwhile


def lower_to(planned_seats: int) -> CatalogOutcome:
    asked = PutContract(reference="C-1", company="acme", training="T-1", planned_seats=planned_seats)
    with transaction() as session:
        return put_contract(session, LOCAL_PORTAL_ID, new_id(), asked)


def test_lowering_waits_for_an_enrollment_and_is_refused_below_it(threads: ThreadPoolExecutor) -> None:
    contract(5)
    with transaction() as session:
        enrol_people(session, "a", "b", "c")
        lowered: Future[CatalogOutcome] = threads.submit(lower_to, 2)
        wait_until(waiting_for_a_lock(1))
    assert lowered.result(30) == CatalogOutcome(
        JobState.REFUSED, {"code": "seats_below_enrolled", "field": "planned_seats", "enrolled_count": 3}
    )
    assert rows("SELECT planned_seats FROM contract") == [(5,)]
    assert seats_used() == 3


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
    enrolled = threads.submit(enrol_until_done, asking("a", "b", "c", policy=FULL))
    wait_until(waiting_for_a_lock(1))
    release.set()
    slow.result(30)
    assert enrolled.result(30) == ["enrolled", "enrolled", "no_seat_left"]
    assert seats_used() == 2


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
    assert seats_used() == enrolled <= 30
