"""An erasure beside actions and enrollments of its person: both orders, the same result."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy import text

from models.words import Code, Policy, Progress
from tests.kit.builders.accounts import keys, make_link
from tests.kit.builders.contracts import (
    add_contract,
    asking,
    enrolled,
    query,
    seats,
    someone,
)
from tests.kit.processes.support import rows, wait_until
from tests.kit.races.erasure import (
    ERASING,
    anne,
    assert_no_trace_left,
    contract_with_anne,
    do,
    do_until_done,
)
from tests.kit.races.racers import enrol_until_done, waiting_for_a_lock
from workers.access.passwords import choose_password
from workers.database import transaction
from workers.requests.accounts import ErasePerson
from workers.requests.enrollment import ProgressEvent, RecordProgress, Withdraw

PEOPLE = "SELECT first_name, erased_at IS NOT NULL FROM account ORDER BY erased_at IS NULL"

TRUTH = """
    SELECT e.progress, e.withdrawn_at IS NOT NULL, (SELECT enrolled_count FROM contract),
      (SELECT count(*) FROM certificate_holder), (SELECT count(*) FROM job WHERE kind = 'issue_certificate')
    FROM enrollment e ORDER BY e.id"""


def completing(enrollments: list[UUID]) -> RecordProgress:
    at = datetime(2026, 3, 5, tzinfo=UTC)
    events = [ProgressEvent(enrollment_id=one, progress=Progress.COMPLETED, occurred_at=at) for one in enrollments]
    return RecordProgress(events=events)


def test_a_person_enrolled_during_an_erasure_is_a_new_person(threads: ThreadPoolExecutor) -> None:
    contract_with_anne()
    with transaction() as session:
        add_contract(session, "C-2")
    with transaction() as first:
        assert do(first, ERASING)["code"] == Code.ERASED
        second = threads.submit(enrol_until_done, asking(anne("Annie"), contract="C-2"))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == ["enrolled"]
    assert rows(PEOPLE) == [("", True), ("Annie", False)]
    with transaction() as session:
        assert (seats(session), seats(session, "C-2")) == (0, 1)
    assert_no_trace_left()


@pytest.mark.parametrize("contract", ["C-1", "C-2"])
def test_an_erasure_that_arrives_during_an_enrollment_finds_it(threads: ThreadPoolExecutor, contract: str) -> None:
    """This includes a contract that it had not locked: it begins again and returns that seat too."""
    with transaction() as session:
        add_contract(session)
        add_contract(session, "C-2")
        enrolled(session, anne(), contract="C-1" if contract == "C-2" else "C-2")
    with transaction() as first:
        assert len(enrolled(first, anne(), contract=contract)) == 1
        second = threads.submit(do_until_done, ERASING)
        wait_until(waiting_for_a_lock(1))
    assert second.result(30)["counts"]["seats"] == 2
    assert rows(PEOPLE) == [("", True)]
    with transaction() as session:
        assert (seats(session), seats(session, "C-2")) == (0, 0)
    assert_no_trace_left()


def test_a_password_chosen_during_an_erasure_is_not(threads: ThreadPoolExecutor) -> None:
    token = link_of_anne()
    with transaction() as first:
        do(first, ERASING)
        second = threads.submit(choose, token)
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) is Code.INVALID_LINK
    assert rows("SELECT password_hash, activated_at FROM account") == [(None, None)]
    assert_no_trace_left()


def test_an_erasure_while_a_password_is_chosen_removes_it(threads: ThreadPoolExecutor) -> None:
    token = link_of_anne()
    with transaction() as first:
        assert not isinstance(choose_password(first, keys(), token, "hash"), Code)
        second = threads.submit(do_until_done, ERASING)
        wait_until(waiting_for_a_lock(1))
    assert second.result(30)["code"] == Code.ERASED
    assert rows("SELECT password_hash, credential_version FROM account") == [(None, 3)]
    assert_no_trace_left()


def link_of_anne() -> str:
    contract_with_anne()
    with transaction() as session:
        session.execute(text("UPDATE link SET voided_at = now()"))
        [(account,)] = query(session, "SELECT id FROM account")
        return make_link(session, account)[1]


def choose(token: str) -> object:
    with transaction() as session:
        return choose_password(session, keys(), token, "hash")


def test_a_completion_that_is_told_during_an_erasure_finds_the_person_gone(threads: ThreadPoolExecutor) -> None:
    people = contract_with_anne()
    with transaction() as first:
        do(first, ERASING)
        second = threads.submit(do_until_done, completing(people))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30)["counts"] == {"already_withdrawn": 1}
    assert rows(TRUTH) == [("not_started", True, 0, 0, 0)]
    assert_no_trace_left()


def test_an_erasure_during_a_completion_keeps_the_certificates_names(threads: ThreadPoolExecutor) -> None:
    people = contract_with_anne()
    with transaction() as first:
        do(first, completing(people))
        second = threads.submit(do_until_done, ERASING)
        wait_until(waiting_for_a_lock(1))
    assert second.result(30)["counts"]["certificates"] == 1
    assert rows(TRUTH) == [("completed", False, 1, 1, 1)]
    assert rows("SELECT first_name, last_name FROM certificate_holder") == [("Anne", "Lorval")]
    assert_no_trace_left()


def test_one_of_two_erasures_at_once_finds_no_account(threads: ThreadPoolExecutor) -> None:
    contract_with_anne()
    with transaction() as first:
        assert do(first, ERASING)["code"] == Code.ERASED
        second = threads.submit(do_until_done, ERASING)
        wait_until(waiting_for_a_lock(1))
    assert second.result(30)["code"] == Code.NOT_FOUND
    trail = rows("SELECT result, account_id IS NULL FROM audit WHERE action = 'erase_person' ORDER BY id")
    assert trail == [("done", False), ("not_found", True)]
    assert_no_trace_left()


def test_when_the_enrollment_gives_up_the_erasure_decides(threads: ThreadPoolExecutor) -> None:
    contract_with_anne()
    with transaction() as session:
        add_contract(session, "C-2")
    with transaction() as first:
        enrolled(first, anne(), contract="C-2")
        second = threads.submit(do_until_done, ERASING)
        wait_until(waiting_for_a_lock(1))
        first.rollback()
    assert second.result(30)["counts"]["seats"] == 1
    assert_no_trace_left()


def test_an_address_corrected_meanwhile_has_no_account(threads: ThreadPoolExecutor) -> None:
    contract_with_anne()
    with transaction() as correction:
        query(correction, "SELECT id FROM account FOR UPDATE")
        second = threads.submit(do_until_done, ERASING)
        wait_until(waiting_for_a_lock(1))
        query(correction, "UPDATE account SET email_norm = 'new@example.com' RETURNING id")
    assert second.result(30)["code"] == Code.NOT_FOUND
    assert rows(PEOPLE) == [("Anne", False)]
    assert rows("SELECT count(*) FROM link WHERE voided_at IS NULL") == [(1,)]


def test_many_at_once_leave_seats_that_add_up_and_nothing_of_the_erased(threads: ThreadPoolExecutor) -> None:
    with transaction() as session:
        for reference in ("C-1", "C-2"):
            add_contract(session, reference, seats=40)
        people = enrolled(session, *[someone(f"p{number}@example.com") for number in range(20)])
    barrier = Barrier(4)

    def erase_all(order: int) -> None:
        barrier.wait(10)
        for number in range(20)[::order]:
            do_until_done(ErasePerson(email=f"p{number}@example.com", reason="x"))

    def enrol_all() -> None:
        barrier.wait(10)
        for number in range(20):
            enrol_until_done(asking(someone(f"p{number}@example.com"), contract="C-2", policy=Policy.UNTIL_FULL))

    def begin_all() -> None:
        barrier.wait(10)
        for one in people:
            do_until_done(completing([one]))
            do_until_done(Withdraw(contract="C-1", enrollment_ids=[one]))

    runs = [threads.submit(erase_all, 1), threads.submit(erase_all, -1), threads.submit(enrol_all)]
    runs.append(threads.submit(begin_all))
    for run in runs:
        run.result(120)
    assert_no_trace_left()
    assert rows("SELECT count(*) FROM account WHERE erased_at IS NOT NULL AND (first_name <> '' OR password_hash"
                " IS NOT NULL OR email_norm NOT LIKE '%@erased.invalid')") == [(0,)]  # fmt: skip
    assert rows("SELECT count(*) FROM certificate_holder h JOIN enrollment e ON e.id = h.enrollment_id"
                " WHERE e.progress <> 'completed'") == [(0,)]  # fmt: skip
