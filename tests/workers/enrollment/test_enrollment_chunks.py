"""Large enrollment jobs are done whole or chunk by chunk, and resumed at the next chunk; each effect happens once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import pytest

from models.words import Policy
from tests.kit.actors.committed_jobs import (
    accept_all,
    claimed,
    contract,
    job,
    people_codes,
    seats_used,
)
from tests.kit.builders.contracts import (
    accepted,
    asking,
    enrol_people,
    someone,
)
from tests.kit.processes.support import rows
from workers.actors import rosters
from workers.database import Session, transaction
from workers.engine import chunks as courses
from workers.engine import claimer, ledger
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.engine.results import insert_people
from workers.enrollment import jobs as enrollment_jobs
from workers.enrollment.jobs import begin, enroll_chunk
from workers.errors import Transient
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.requests.queues import Queue

FULL = Policy.UNTIL_FULL
CHUNK = 4


@pytest.fixture
def small_chunks(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets chunks of four people, so that twelve people make a large request."""
    monkeypatch.setattr(enrollment_jobs, "CHUNK", CHUNK)
    monkeypatch.setattr("workers.requests.enrollment.ROSTER_SIZE", CHUNK)


@pytest.fixture
def not_stopping() -> Iterator[None]:
    """Restores the stop flag of this process after the test."""
    yield
    claimer.STOPPING.clear()


def crowd(*words: str) -> list[PersonToEnroll]:
    return [someone("@" if word == "!" else word) for word in words]


def many(number: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{index}" for index in range(number)]


def test_a_large_request_that_may_not_be_split_is_one_transaction(small_chunks: None) -> None:
    contract()
    for number, policy in enumerate((Policy.ALL_OR_NOTHING, Policy.VALID_ROWS)):
        accept_all_under(f"whole-{number}", asking(*many(9, f"x{number}"), policy=policy))
        rosters.do_batch(claimed(Queue.ROSTERS))
    assert rows("SELECT count(DISTINCT CAST(xmin AS text)), count(*) FROM enrollment GROUP BY job_id") == [
        (1, 9),
        (1, 9),
    ]


def test_all_or_nothing_leaves_nothing_behind_for_one_bad_row_at_the_end(small_chunks: None) -> None:
    contract()
    [job_id] = accept_all(asking(*crowd(*many(9), "!")))
    rosters.do_batch(claimed(Queue.ROSTERS))
    assert Counter(people_codes(job_id)) == {"not_carried_out": 9, "invalid_email": 1}
    assert (job(job_id)["state"], seats_used()) == ("refused", 0)
    assert rows("SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM email)") == [(0, 0)]


# Large requests, chunk by chunk


MIXED = crowd("a", "b", "!", "a", "c", "there", "b", "d", "!", "d", "e", "f", "there", "g", "c", "h", "a")

MIXED_CODES = [
    *("enrolled", "enrolled", "invalid_email", "duplicate_in_file"),
    *("enrolled", "already_enrolled", "duplicate_in_file", "enrolled"),
    *("invalid_email", "duplicate_in_file", "enrolled", "enrolled"),
    *("duplicate_in_file", "no_seat_left", "duplicate_in_file", "no_seat_left"),
    "duplicate_in_file",
]


def mixed() -> UUID:
    """Accepts a request of five chunks with every kind of row, on a contract with six seats left."""
    contract(seats=7)
    with transaction() as session:
        enrol_people(session, "there", notify=False)
    [job_id] = accept_all(asking(*MIXED, policy=FULL, report_to="chef@example.com"))
    return job_id


def check_mixed(job_id: UUID) -> None:
    """Checks that everything of this request was done once."""
    shown = job(job_id)
    assert (shown["state"], shown["position"]) == ("succeeded", len(MIXED))
    assert people_codes(job_id) == MIXED_CODES
    assert shown["result"] | {"people": None} == {
        "counts": dict(Counter(MIXED_CODES)),
        "seats": 6,
        "carried_out": True,
        "dry_run": False,
        "planned_seats": 7,
        "enrolled_count": 7,
        "remaining": 0,
        "people": None,
    }
    assert seats_used() == 7
    assert rows("SELECT kind, count(*) FROM email GROUP BY kind ORDER BY kind") == [
        ("enrollment_report", 1),
        ("invitation", 6),
    ]
    assert rows("SELECT count(*) FROM account") == [(7,)]


def test_chunks_add_up_to_the_whole(small_chunks: None) -> None:
    job_id = mixed()
    rosters.do_batch(claimed(Queue.ROSTERS))
    check_mixed(job_id)
    assert rows("SELECT count(DISTINCT CAST(xmin AS text)) FROM job_person") == [(5,)]
    assert rows("SELECT DISTINCT queue FROM email WHERE kind = 'invitation'") == [("emails_bulk",)]


BUG, AWAY = ZeroDivisionError("a bug"), Transient("the database went away")


@pytest.mark.parametrize(("chunk", "error"), [(0, AWAY), (1, BUG), (3, AWAY), (4, BUG)])
def test_a_chunk_that_fails_is_done_again_alone(
    small_chunks: None, monkeypatch: pytest.MonkeyPatch, chunk: int, error: Exception
) -> None:
    job_id = mixed()
    fail_once_after_writing(monkeypatch, chunk, error)
    rosters.do_batch(claimed(Queue.ROSTERS))
    shown = job(job_id)
    assert (shown["state"], shown["position"]) == ("queued", chunk * CHUNK)
    assert shown["failures"] == int(error is BUG)
    assert people_codes(job_id) == MIXED_CODES[: chunk * CHUNK]
    rosters.do_batch(claimed(Queue.ROSTERS))
    check_mixed(job_id)


def test_a_request_left_by_a_stopping_process_is_taken_up_by_the_next(
    small_chunks: None, monkeypatch: pytest.MonkeyPatch, not_stopping: None
) -> None:
    job_id = mixed()
    seen: list[int] = []

    def stop_in_the_second(session: Session, people: Sequence[Any]) -> None:
        record(session, people)
        seen.append(len(people))
        if len(seen) == 2:
            claimer.STOPPING.set()

    record = insert_people
    monkeypatch.setattr(enrollment_jobs, "insert_people", stop_in_the_second)
    rosters.do_batch(claimed(Queue.ROSTERS))
    assert (job(job_id)["state"], job(job_id)["position"]) == ("queued", 2 * CHUNK)
    claimer.STOPPING.clear()
    rosters.do_batch(claimed(Queue.ROSTERS))
    check_mixed(job_id)


def test_a_worker_taken_for_dead_stops_and_doubles_nothing(small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = mixed()
    [stale] = claimed(Queue.ROSTERS)
    step = courses._Step(begin, enroll_chunk, None)
    for _ in range(2):  # resumed, commits its first chunk, then freezes
        assert BatchRun(JOBS, step.work).run([stale])
    rows("UPDATE job SET leased_until = now() - interval '1 second' RETURNING id")
    with transaction() as session:
        assert ledger.rescue(session, JOBS) == [(job_id, "rosters", 1)]
    rosters.do_batch(claimed(Queue.ROSTERS))
    late = courses._Step(begin, enroll_chunk, step.state)
    assert BatchRun(JOBS, late.work).run([stale])
    assert late.ended
    check_mixed(job_id)


def test_a_large_request_on_an_unknown_contract_is_refused_whole(small_chunks: None) -> None:
    [job_id] = accept_all(asking(*many(9), contract="C-404", policy=FULL, report_to="chef@example.com"))
    rosters.do_batch(claimed(Queue.ROSTERS))
    shown = job(job_id)
    assert (shown["state"], shown["result"]["code"]) == ("refused", "unknown_contract")
    assert not shown["result"]["carried_out"]
    assert shown["result"]["counts"] == {"unknown_contract": 9}
    assert rows("SELECT count(*) FROM account") == [(0,)]
    assert rows("SELECT kind, job_id, contract_id FROM email") == [("enrollment_report", job_id, None)]


def test_a_contract_that_closes_between_two_chunks_refuses_the_rest(
    small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract()
    [job_id] = accept_all(asking(*many(9), policy=FULL))
    fail_once_after_writing(monkeypatch, 1, Transient("the database went away"))
    rosters.do_batch(claimed(Queue.ROSTERS))
    rows("UPDATE contract SET ends_on = '2020-01-01' RETURNING id")
    rosters.do_batch(claimed(Queue.ROSTERS))
    shown = job(job_id)
    assert (shown["state"], shown["result"]["counts"]) == ("succeeded", {"enrolled": 4, "contract_expired": 5})
    assert "code" not in shown["result"]
    assert seats_used() == 4


def test_a_person_without_a_seat_in_one_chunk_may_find_one_in_a_later(
    small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract(seats=3)
    [job_id] = accept_all(asking("a", "b", "c", "late", "d", "late", "late", policy=FULL))
    fail_once_after_writing(monkeypatch, 1, AWAY)
    rosters.do_batch(claimed(Queue.ROSTERS))
    contract(seats=10)
    rosters.do_batch(claimed(Queue.ROSTERS))
    assert people_codes(job_id)[3:] == ["no_seat_left", "enrolled", "enrolled", "duplicate_in_file"]
    assert (job(job_id)["state"], seats_used()) == ("succeeded", 5)


def test_a_full_contract_refuses_a_large_request(small_chunks: None) -> None:
    contract(seats=0)
    [job_id] = accept_all(asking(*many(9), policy=FULL, report_to="chef@example.com"))
    rosters.do_batch(claimed(Queue.ROSTERS))
    assert (job(job_id)["state"], job(job_id)["result"]["counts"]) == ("refused", {"no_seat_left": 9})
    assert rows("SELECT kind FROM email") == [("enrollment_report",)]


@pytest.mark.parametrize(
    ("people", "policy", "dry_run", "expected"),
    [
        (CHUNK, FULL, False, False),
        (CHUNK + 1, FULL, False, True),
        (CHUNK + 1, FULL, True, False),
        (CHUNK + 1, Policy.VALID_ROWS, False, False),
        (CHUNK + 1, Policy.ALL_OR_NOTHING, False, False),
    ],
)
def test_which_requests_may_be_done_in_parts(
    monkeypatch: pytest.MonkeyPatch, people: int, policy: Policy, dry_run: bool, expected: bool
) -> None:
    monkeypatch.setattr(enrollment_jobs, "CHUNK", CHUNK)
    assert enrollment_jobs.in_chunks(asking(*many(people), policy=policy, dry_run=dry_run)) is expected


def accept_all_under(key: str, request: Enroll) -> UUID:
    with transaction() as session:
        return accepted(session, request, key)


def fail_once_after_writing(monkeypatch: pytest.MonkeyPatch, chunk: int, error: Exception) -> None:
    """Makes the transaction of one chunk fail once after all its writes."""
    record = insert_people
    chunks: list[int] = []

    def fail(session: Session, people: Sequence[Any]) -> None:
        record(session, people)
        chunks.append(len(people))
        if len(chunks) == chunk + 1:
            raise error

    monkeypatch.setattr(enrollment_jobs, "insert_people", fail)
