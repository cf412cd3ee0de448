"""A withdrawal beside other work at the same moment: real sessions, both orders, the same result."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import pytest

from models.words import JobState, Progress
from tests.kit.builders.contracts import (
    add_contract,
    asking,
    enrolled,
    query,
    seats,
)
from tests.kit.processes.support import rows, wait_until
from tests.kit.races.racers import (
    do,
    do_until_done,
    enrol_until_done,
    progress_of,
    waiting_for_a_lock,
)
from workers.database import transaction
from workers.ops.reconciliation import find_drift
from workers.requests.base import Request
from workers.requests.enrollment import Withdraw

TRUTH = """
    SELECT progress, withdrawn_at IS NOT NULL, (SELECT enrolled_count FROM contract),
      (SELECT sum(change) FROM seat_movement), (SELECT count(*) FROM email WHERE kind = 'withdrawal'),
      (SELECT count(*) FROM job WHERE kind = 'issue_certificate')
    FROM enrollment"""


def contract_with(*people: str) -> list[UUID]:
    with transaction() as session:
        add_contract(session, seats=len(people))
        return enrolled(session, *people)


def withdrawing(enrollments: Sequence[UUID]) -> Withdraw:
    return Withdraw(contract="C-1", enrollment_ids=list(enrollments))


def test_progress_that_arrives_during_a_withdrawal_finds_the_person_gone(threads: ThreadPoolExecutor) -> None:
    people = contract_with("a")
    with transaction() as first:
        assert do(first, withdrawing(people)) == (JobState.SUCCEEDED, {"withdrawn": 1})
        second = threads.submit(do_until_done, progress_of(people))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == (JobState.REFUSED, {"already_withdrawn": 1})
    assert rows(TRUTH) == [("not_started", True, 0, 0, 1, 0)]
    with transaction() as session:
        assert (find_drift(session), seats(session)) == ([], 0)


def test_a_withdrawal_during_progress_finds_the_training_started(threads: ThreadPoolExecutor) -> None:
    people = contract_with("a")
    with transaction() as first:
        assert do(first, progress_of(people)) == (JobState.SUCCEEDED, {"recorded": 1})
        second = threads.submit(do_until_done, withdrawing(people))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == (JobState.REFUSED, {"already_started": 1})
    assert rows(TRUTH) == [("completed", False, 1, 1, 0, 1)]
    with transaction() as session:
        assert (find_drift(session), seats(session)) == ([], 1)


@pytest.mark.parametrize("winner", ["withdraw", "record_progress"])
def test_when_the_first_gives_up_the_second_decides(threads: ThreadPoolExecutor, winner: str) -> None:
    people = contract_with("a")
    requests: dict[str, Request] = {"withdraw": withdrawing(people), "record_progress": progress_of(people)}
    [loser] = requests.keys() - {winner}
    with transaction() as first:
        do(first, requests[loser])
        second = threads.submit(do_until_done, requests[winner])
        wait_until(waiting_for_a_lock(1))
        first.rollback()
    assert second.result(30)[0] == JobState.SUCCEEDED
    expected = ("not_started", True, 0, 0, 1, 0) if winner == "withdraw" else ("completed", False, 1, 1, 0, 1)
    assert rows(TRUTH) == [expected]


def test_many_at_once_in_opposite_orders_leave_one_truth_each(threads: ThreadPoolExecutor) -> None:
    people = contract_with(*[f"p{number}" for number in range(40)])
    barrier = Barrier(4)

    def run(request: Request) -> tuple[str, dict[str, int]]:
        barrier.wait(10)
        return do_until_done(request)

    asked: list[Request] = [
        withdrawing(people[:30]),
        progress_of(people[::-1], Progress.IN_PROGRESS),
        withdrawing(people[::-1]),
        progress_of(people[10:]),
    ]
    answers = [future.result(60)[1] for future in [threads.submit(run, request) for request in asked]]
    withdrawn = answers[0].get("withdrawn", 0) + answers[2].get("withdrawn", 0)
    with transaction() as session:
        assert find_drift(session) == []
        assert seats(session) == 40 - withdrawn
        assert query(session, "SELECT count(*) FROM enrollment WHERE withdrawn_at IS NOT NULL"
                              " AND progress <> 'not_started'") == [(0,)]  # fmt: skip
        assert query(session, "SELECT count(*) FROM email WHERE kind = 'withdrawal'") == [(withdrawn,)]
        assert query(session, "SELECT count(*) FROM job WHERE kind = 'issue_certificate'") == query(
            session, "SELECT count(*) FROM enrollment WHERE progress = 'completed'"
        )
    assert rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]


def test_a_completion_told_twice_at_once_owes_one_certificate(threads: ThreadPoolExecutor) -> None:
    people = contract_with("a")
    with transaction() as first:
        do(first, progress_of(people))
        second = threads.submit(do_until_done, progress_of(people))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == (JobState.SUCCEEDED, {"unchanged": 1})
    assert rows(TRUTH) == [("completed", False, 1, 1, 0, 1)]


def test_a_returned_seat_goes_to_the_request_that_waits_for_it(threads: ThreadPoolExecutor) -> None:
    people = contract_with("a")
    with transaction() as first:
        do(first, withdrawing(people))
        second = threads.submit(enrol_until_done, asking("b"))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == ["enrolled"]
    with transaction() as session:
        assert (find_drift(session), seats(session)) == ([], 1)


def test_an_address_corrected_meanwhile_is_the_one_that_is_told(threads: ThreadPoolExecutor) -> None:
    people = contract_with("a")
    with transaction() as correction:
        query(correction, "SELECT id FROM account FOR UPDATE")
        second = threads.submit(do_until_done, withdrawing(people))
        wait_until(waiting_for_a_lock(1))
        query(correction, "UPDATE account SET email_norm = 'new@example.com' RETURNING id")
    assert second.result(30)[0] == JobState.SUCCEEDED
    assert rows("SELECT to_address FROM email WHERE kind = 'withdrawal'") == [("new@example.com",)]
