"""Corrections and enrollments at the same moment: real sessions, both orders, no account taken over."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.words import Code
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import (
    accepted,
    asking,
    codes,
    enrol,
    someone,
)
from tests.kit.builders.corrections import (
    ACCOUNTS,
    NEW,
    OLD,
    OTHER,
    account_id,
    code_of,
    committed_participant,
    corrections,
    do,
    notice_sent,
    participant,
    sweep,
    token,
)
from tests.kit.processes.support import change, rows, wait_until
from tests.kit.races.racers import second_waits_for_first, until_done, waiting_for_a_lock
from workers.actors.registry import do_jobs
from workers.corrections import facts as correction_facts
from workers.corrections import jobs as correction_jobs
from workers.corrections.answers import confirm_address
from workers.database import Session, transaction
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.requests.accounts import CorrectEmail
from workers.requests.internal import CorrectEmailByOps


def correcting(enrollment_id: Any, email: str = NEW) -> Callable[[Session], Any]:
    return lambda session: code_of(do(session, CorrectEmail(enrollment_id=enrollment_id, email=email)))


def enrolling(email: str, contract: str = "C-2") -> Callable[[Session], Any]:
    return lambda session: codes(enrol(session, asking(someone(email), contract=contract))[0])


# An attachment by another company


@pytest.mark.parametrize("activated", [True, False])
def test_a_company_that_attaches_first_makes_the_account_shared(threads: ThreadPoolExecutor, activated: bool) -> None:
    mine = committed_participant(activated=activated)
    assert second_waits_for_first(threads, enrolling(OLD), correcting(mine)) == (["attached"], "shared_account")
    assert rows(ACCOUNTS) == [(OLD, 2)]


def test_a_company_that_attaches_second_finds_no_such_account(threads: ThreadPoolExecutor) -> None:
    mine = committed_participant(activated=False)
    assert second_waits_for_first(threads, correcting(mine), enrolling(OLD)) == ("corrected", ["enrolled"])
    assert rows(ACCOUNTS) == [(NEW, 1), (OLD, 1)]


def test_a_company_that_attaches_while_a_correction_is_asked_for_ends_it(threads: ThreadPoolExecutor) -> None:
    mine = committed_participant()
    assert second_waits_for_first(threads, correcting(mine), enrolling(OLD)) == ("confirmation_sent", ["attached"])
    with transaction() as session:
        notice_sent(session, hours=100)
        heard = confirm_address(session, keys(), token(session), password_given=True)
        assert not isinstance(heard, Code)
        assert corrections(session) == [("cancelled", "shared", NEW)]
    assert rows(ACCOUNTS) == [(OLD, 2)]


@pytest.mark.parametrize("attached_first", [True, False])
def test_a_company_that_attaches_while_a_correction_is_applied(
    threads: ThreadPoolExecutor, attached_first: bool
) -> None:
    committed_participant(pending=True)
    change("UPDATE email_correction SET confirmed_at = now(), agreed_at = now()")
    if not attached_first:
        assert second_waits_for_first(threads, sweep, enrolling(OLD)) == ({"applied": 1}, ["enrolled"])
        assert rows(ACCOUNTS) == [(NEW, 1), (OLD, 1)]
        return
    with transaction() as session:
        assert enrolling(OLD)(session) == ["attached"]
        with transaction() as other:
            assert sweep(other) == {}  # the account is locked: the correction waits for the next run
    with transaction() as session:
        assert sweep(session) == {"cancelled": 1}
    assert rows(ACCOUNTS) == [(OLD, 2)]


# The new address is enrolled at the same moment


@pytest.mark.parametrize("by_ops", [True, False])
def test_an_address_enrolled_first_is_taken(threads: ThreadPoolExecutor, by_ops: bool) -> None:
    mine = committed_participant(activated=False)

    def ops(session: Session) -> str:
        return code_of(do(session, CorrectEmailByOps(account_id=account_id(session), email=NEW, reason="asked")))

    answers = second_waits_for_first(threads, enrolling(NEW), ops if by_ops else correcting(mine))
    assert answers == (["enrolled"], "address_taken")
    assert rows(ACCOUNTS) == [(NEW, 1), (OLD, 1)]
    assert rows("SELECT count(*) FROM email_correction") == [(0,)]


def test_an_address_taken_between_read_and_write_stops_no_other_one(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = committed_participant(activated=False)
    with transaction() as session:
        other = participant(session, "luc@example.com", activated=False)
        for number, enrollment_id in enumerate((mine, other)):
            email = NEW if number == 0 else OTHER
            accepted(session, CorrectEmail(enrollment_id=enrollment_id, email=email), key=f"k-{number}")
    look, taken = correction_facts.read_participant, list[Any]()

    def look_and_lose(*args: Any) -> Any:
        known = look(*args)
        if not taken:
            taken.append(until_done(enrolling(NEW)))
        return known

    monkeypatch.setattr(correction_jobs, "read_participant", look_and_lose)
    assert BatchRun(JOBS, do_jobs).run(claimed())
    found = rows("SELECT state, result -> 'counts' FROM job WHERE kind = 'correct_email' ORDER BY created_at, id")
    assert found == [("refused", {"address_taken": 1}), ("succeeded", {"corrected": 1})]
    assert rows(ACCOUNTS) == [(NEW, 1), (OLD, 1), (OTHER, 1)]


def test_an_address_enrolled_second_is_attached_to_its_new_account(threads: ThreadPoolExecutor) -> None:
    mine = committed_participant(activated=False)
    assert second_waits_for_first(threads, correcting(mine), enrolling(NEW)) == ("corrected", ["attached"])
    assert rows(ACCOUNTS) == [(NEW, 2)]


def test_two_corrections_to_one_address_one_wins(threads: ThreadPoolExecutor) -> None:
    mine = committed_participant(activated=False)
    with transaction() as session:
        other = participant(session, "luc@example.com", activated=False)
    with transaction() as session:
        # Each locks the rate limit of the address: the second waits there and finds the address taken.
        assert correcting(mine)(session) == "corrected"
        second = threads.submit(until_done, correcting(other))
        wait_until(waiting_for_a_lock(1))
    assert second.result(30) == "address_taken"
