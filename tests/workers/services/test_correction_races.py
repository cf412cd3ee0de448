"""Corrections and what happens at the same moment: real sessions, both orders, no takeover, nothing half-done."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import Code, Purpose
from tests.accounts import PASSWORD, keys
from tests.committed import claimed, fail_half_way, state_of_things
from tests.contracts import accepted, add_contract, asking, codes, enrol, someone
from tests.corrections import (
    NEW,
    OLD,
    OTHER,
    account_id,
    answer_token,
    code_of,
    correct,
    corrections,
    do,
    notice_sent,
    participant,
    sweep,
    token,
)
from tests.support import change, rows, wait_until
from tests.ticked import reset
from workers import ledger
from workers.actors.claimer import BatchRun
from workers.database import Session, is_transient, transaction
from workers.internal_requests import ApplyCorrections, CorrectEmailByOps
from workers.ledger import EMAILS, JOBS
from workers.queues import Queue
from workers.requests import CorrectEmail
from workers.services import correction_facts, correction_verdicts
from workers.services import corrections as correction_jobs
from workers.services.correction_answers import agree_to_correction, confirm_address, refuse_correction
from workers.services.jobs import do_jobs
from workers.services.letters import read_letters
from workers.services.passwords import choose_password, hash_password

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
ACCOUNTS = """
    SELECT email_norm, count(e.id) FROM account a LEFT JOIN enrollment e ON e.account_id = a.id
    GROUP BY a.id ORDER BY email_norm"""
Step = Callable[[Session], Any]


@pytest.fixture
def threads(fresh_database: str) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def until_done(step: Step) -> Any:
    """In a transaction of its own, again after each fault around it, as a worker would."""
    pause = Event()
    while True:
        try:
            with transaction() as session:
                return step(session)
        except Exception as error:
            if not is_transient(error):
                raise
        pause.wait(random.uniform(0.005, 0.05))


def meeting(threads: ThreadPoolExecutor, first: Step, second: Step) -> tuple[Any, Any]:
    """The second begins while the first holds what it holds, and waits for it."""
    with transaction() as session:
        answer = first(session)
        other = threads.submit(until_done, second)
        wait_until(lambda: rows(WAITING) == [(1,)])
    return answer, other.result(30)


def correcting(enrollment_id: Any, email: str = NEW) -> Step:
    return lambda session: code_of(do(session, CorrectEmail(enrollment_id=enrollment_id, email=email)))


def enrolling(email: str, contract: str = "C-2") -> Step:
    return lambda session: codes(enrol(session, asking(someone(email), contract=contract))[0])


def somebody(*, activated: bool = True, pending: bool = False) -> Any:
    with transaction() as session:
        enrollment_id = participant(session, activated=activated)
        add_contract(session, "C-2", 5, company="other")
        if pending:
            correct(session, enrollment_id)
        return enrollment_id


def swept(session: Session) -> dict[str, int]:
    return sweep(session)


def refusing(session: Session) -> Any:
    return refuse_correction(session, keys(), answer_token(session))


# An attachment by another company


@pytest.mark.parametrize("activated", [True, False])
def test_a_company_that_attaches_first_makes_the_account_shared(threads: ThreadPoolExecutor, activated: bool) -> None:
    mine = somebody(activated=activated)
    assert meeting(threads, enrolling(OLD), correcting(mine)) == (["attached"], "shared_account")
    assert rows(ACCOUNTS) == [(OLD, 2)]


def test_a_company_that_attaches_second_finds_no_such_account(threads: ThreadPoolExecutor) -> None:
    mine = somebody(activated=False)
    assert meeting(threads, correcting(mine), enrolling(OLD)) == ("corrected", ["enrolled"])
    assert rows(ACCOUNTS) == [(NEW, 1), (OLD, 1)]


def test_a_company_that_attaches_while_a_correction_is_asked_for_ends_it(threads: ThreadPoolExecutor) -> None:
    mine = somebody()
    assert meeting(threads, correcting(mine), enrolling(OLD)) == ("confirmation_sent", ["attached"])
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
    somebody(pending=True)
    change("UPDATE email_correction SET confirmed_at = now(), agreed_at = now()")
    if not attached_first:
        assert meeting(threads, swept, enrolling(OLD)) == ({"applied": 1}, ["enrolled"])
        assert rows(ACCOUNTS) == [(NEW, 1), (OLD, 1)]
        return
    with transaction() as session:
        assert enrolling(OLD)(session) == ["attached"]
        with transaction() as other:
            assert sweep(other) == {}  # somebody holds the account: it waits for the next time
    with transaction() as session:
        assert sweep(session) == {"cancelled": 1}
    assert rows(ACCOUNTS) == [(OLD, 2)]


# The new address enrolled by somebody at the same moment


@pytest.mark.parametrize("by_ops", [True, False])
def test_an_address_enrolled_first_is_taken(threads: ThreadPoolExecutor, by_ops: bool) -> None:
    mine = somebody(activated=False)

    def ops(session: Session) -> str:
        return code_of(do(session, CorrectEmailByOps(account_id=account_id(session), email=NEW, reason="asked")))

    answers = meeting(threads, enrolling(NEW), ops if by_ops else correcting(mine))
    assert answers == (["enrolled"], "address_taken")
    assert rows(ACCOUNTS) == [(NEW, 1), (OLD, 1)]
    assert rows("SELECT count(*) FROM email_correction") == [(0,)]


def test_an_address_enrolled_between_the_look_and_the_move_is_taken_and_spoils_nothing_of_the_batch(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = somebody(activated=False)
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


def test_an_address_enrolled_second_is_attached_to_whoever_has_it_now(threads: ThreadPoolExecutor) -> None:
    mine = somebody(activated=False)
    assert meeting(threads, correcting(mine), enrolling(NEW)) == ("corrected", ["attached"])
    assert rows(ACCOUNTS) == [(NEW, 2)]


def test_two_corrections_to_one_address_one_wins(threads: ThreadPoolExecutor) -> None:
    mine = somebody(activated=False)
    with transaction() as session:
        other = participant(session, "luc@example.com", activated=False)
    with transaction() as session:
        # Each holds the throttle of the address: the second waits there, and finds it taken.
        assert correcting(mine)(session) == "corrected"
        second = threads.submit(until_done, correcting(other))
        wait_until(lambda: rows(WAITING) == [(1,)])
    assert second.result(30) == "address_taken"


# Answers and the sweep


def test_saying_no_beats_silence_when_it_comes_first(threads: ThreadPoolExecutor) -> None:
    somebody(pending=True)
    with transaction() as session:
        confirm_address(session, keys(), token(session), password_given=False)
        notice_sent(session, hours=100)
    with transaction() as session:
        assert not isinstance(refusing(session), Code)
        with transaction() as other:
            assert sweep(other) == {}
    with transaction() as session:
        assert sweep(session) == {}
        assert corrections(session) == [("cancelled", "refusal", NEW)]
    assert rows(ACCOUNTS) == [(OLD, 1)]


def test_saying_no_after_silence_was_heard_is_too_late(threads: ThreadPoolExecutor) -> None:
    somebody(pending=True)
    with transaction() as session:
        confirm_address(session, keys(), token(session), password_given=False)
        notice_sent(session, hours=100)
    assert meeting(threads, swept, refusing) == ({"applied": 1}, Code.INVALID_LINK)
    assert rows(ACCOUNTS) == [(NEW, 1)]


def test_both_mailboxes_at_the_same_moment_apply_it_once(threads: ThreadPoolExecutor) -> None:
    somebody(pending=True)
    confirmed, agreed = meeting(
        threads,
        lambda session: confirm_address(session, keys(), token(session), password_given=False),
        lambda session: agree_to_correction(session, keys(), answer_token(session)),
    )
    assert (confirmed.verdict.state, agreed.verdict.state) == ("pending", "applied")
    assert rows("SELECT count(*) FROM email WHERE kind = 'correction_applied'") == [(2,)]
    assert rows(ACCOUNTS) == [(NEW, 1)]


def test_a_link_used_twice_at_once_counts_once(threads: ThreadPoolExecutor) -> None:
    somebody(pending=True)

    def confirm(session: Session) -> Any:
        return confirm_address(session, keys(), token(session), password_given=False)

    first, second = meeting(threads, confirm, confirm)
    assert (first.verdict.state, second) == ("pending", Code.USED_LINK)


@pytest.mark.parametrize("password_first", [True, False])
def test_a_password_chosen_at_the_moment_the_new_address_confirms(
    threads: ThreadPoolExecutor, password_first: bool
) -> None:
    mine = somebody(pending=True)
    with transaction() as session:
        do(session, reset(mine))
        chosen = token(session, Purpose.PASSWORD_RESET)
    hashed = hash_password(PASSWORD)

    def choose(session: Session) -> Any:
        return choose_password(session, keys(), chosen, hashed)

    def confirm(session: Session) -> Any:
        return confirm_address(session, keys(), token(session), password_given=True)

    first, second = meeting(threads, *((choose, confirm) if password_first else (confirm, choose)))
    if password_first:
        assert second is Code.INVALID_LINK
        assert rows(ACCOUNTS) == [(OLD, 1)]
    else:
        assert (first.verdict.state, second) == ("applied", Code.INVALID_LINK)
        assert rows("SELECT password_hash FROM account") == [("old",)]


@pytest.mark.parametrize("reset_first", [True, False])
def test_a_reset_asked_for_at_the_moment_of_the_change(threads: ThreadPoolExecutor, reset_first: bool) -> None:
    mine = somebody(pending=True)
    change("UPDATE email_correction SET confirmed_at = now(), agreed_at = now()")

    def ask(session: Session) -> str:
        return code_of(do(session, reset(mine)))

    if reset_first:
        with transaction() as session:
            assert ask(session) == "sent"
        with transaction() as session:
            assert sweep(session) == {"applied": 1}
        expected = [(OLD, "cancelled")]
    else:
        assert meeting(threads, swept, ask) == ({"applied": 1}, "sent")
        expected = [(NEW, "owed")]
    assert rows("SELECT to_address, state FROM email WHERE kind = 'password_reset'") == expected


def test_a_mail_in_a_mailers_hands_is_not_sent_to_the_old_address_any_more(fresh_database: str) -> None:
    mine = somebody()
    with transaction() as session:
        do(session, reset(mine))
    with transaction() as session:
        held = ledger.claim(session, EMAILS, Queue.EMAILS, size=20, lease=30, worker=new_id())
    with transaction() as session:
        do(session, CorrectEmailByOps(account_id=account_id(session), email=NEW, reason="asked"))
    with transaction() as session:
        letters = {letter.row.columns["kind"]: letter for letter in read_letters(session, held)}
        assert letters.keys() == {"password_reset"}
        assert letters["password_reset"].unsent == "cancelled"
        live = rows("SELECT count(*) FROM link WHERE voided_at IS NULL AND consumed_at IS NULL")
        assert live == [(1,)]  # the one the new address is sent
        left = ledger.claim(session, EMAILS, Queue.EMAILS, size=20, lease=30, worker=new_id())
        told = {(one.row.columns["to_address"], one.unsent) for one in read_letters(session, left)}
    assert told == {(OLD, None), (NEW, None)}


# Half-way


def prepared(kind: str) -> None:
    with transaction() as session:
        if kind == "apply":
            correct(session, participant(session))
            confirm_address(session, keys(), token(session), password_given=False)
            notice_sent(session, hours=100)
            request: Any = ApplyCorrections()
            change_queue = "UPDATE job SET queue = 'enrollments'"
        else:
            enrollment_id = participant(session, activated=kind == "pending")
            request, change_queue = CorrectEmail(enrollment_id=enrollment_id, email=NEW), "SELECT 1"
        accepted(session, request, key="one")
        session.execute(text(change_queue))


@pytest.mark.parametrize(
    ("kind", "module", "step"),
    [
        ("at once", correction_jobs, "follow_up"),
        ("at once", correction_jobs, "finish"),
        ("at once", correction_jobs, "record"),
        ("pending", correction_jobs, "insert_links"),
        ("pending", correction_jobs, "owe_mails"),
        ("apply", correction_verdicts, "follow_up"),
        ("apply", correction_verdicts, "mark_applied"),
        ("apply", correction_verdicts, "finish"),
    ],
)
def test_failed_half_way_nothing_is_left_and_then_it_is_done_once(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, kind: str, module: Any, step: str
) -> None:
    prepared(kind)
    fail_half_way(monkeypatch, module, step)
    assert BatchRun(JOBS, do_jobs).run(claimed())
    state = "pending" if kind == "pending" else "applied"
    assert rows("SELECT state FROM email_correction") == [(state,)]
    assert rows("SELECT email_norm FROM account") == [(OLD if kind == "pending" else NEW,)]
    after = state_of_things()
    with transaction() as session:
        assert ledger.claim(session, JOBS, Queue.ENROLLMENTS, size=50, lease=30, worker=new_id()) == []
    assert state_of_things() == after
    assert rows("SELECT count(*) FROM job_attempt") == [(1,)]


def test_a_worker_taken_for_dead_wakes_up_and_does_nothing(fresh_database: str) -> None:
    prepared("at once")
    held = claimed()
    assert BatchRun(JOBS, do_jobs).run(held)
    before = state_of_things()
    BatchRun(JOBS, do_jobs).run(held)
    assert state_of_things() == before
