"""Answers to a correction beside other work at the same moment, and a correction that dies half-way."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import Code, Purpose
from tests.kit.actors.committed_jobs import all_rows, claimed, fail_half_way
from tests.kit.builders.accounts import PASSWORD, keys
from tests.kit.builders.contracts import accepted
from tests.kit.builders.corrections import (
    ACCOUNTS,
    NEW,
    OLD,
    account_id,
    answer_token,
    code_of,
    committed_participant,
    correct,
    corrections,
    do,
    notice_sent,
    participant,
    sweep,
    token,
)
from tests.kit.builders.password_links import reset
from tests.kit.processes.support import change, rows
from tests.kit.races.racers import second_waits_for_first
from workers.access.passwords import choose_password, hash_password
from workers.actors.registry import do_jobs
from workers.corrections import changes as correction_changes
from workers.corrections import jobs as correction_jobs
from workers.corrections import verdicts as correction_verdicts
from workers.corrections.answers import agree_to_correction, confirm_address, refuse_correction
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.claimer import BatchRun
from workers.engine.ledger import EMAILS, JOBS
from workers.mail.letters.writing import write_letters
from workers.requests.accounts import CorrectEmail
from workers.requests.internal import ApplyCorrections, CorrectEmailByOps
from workers.requests.queues import Queue


def refusing(session: Session) -> Any:
    return refuse_correction(session, keys(), answer_token(session))


# Answers and the scheduled work


def test_saying_no_beats_silence_when_it_comes_first(threads: ThreadPoolExecutor) -> None:
    committed_participant(pending=True)
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
    committed_participant(pending=True)
    with transaction() as session:
        confirm_address(session, keys(), token(session), password_given=False)
        notice_sent(session, hours=100)
    assert second_waits_for_first(threads, sweep, refusing) == ({"applied": 1}, Code.INVALID_LINK)
    assert rows(ACCOUNTS) == [(NEW, 1)]


def test_both_mailboxes_at_the_same_moment_apply_it_once(threads: ThreadPoolExecutor) -> None:
    committed_participant(pending=True)
    confirmed, agreed = second_waits_for_first(
        threads,
        lambda session: confirm_address(session, keys(), token(session), password_given=False),
        lambda session: agree_to_correction(session, keys(), answer_token(session)),
    )
    assert (confirmed.verdict.state, agreed.verdict.state) == ("pending", "applied")
    assert rows("SELECT count(*) FROM email WHERE kind = 'correction_applied'") == [(2,)]
    assert rows(ACCOUNTS) == [(NEW, 1)]


def test_a_link_used_twice_at_once_counts_once(threads: ThreadPoolExecutor) -> None:
    committed_participant(pending=True)

    def confirm(session: Session) -> Any:
        return confirm_address(session, keys(), token(session), password_given=False)

    first, second = second_waits_for_first(threads, confirm, confirm)
    assert (first.verdict.state, second) == ("pending", Code.USED_LINK)


@pytest.mark.parametrize("password_first", [True, False])
def test_a_password_chosen_at_the_moment_the_new_address_confirms(
    threads: ThreadPoolExecutor, password_first: bool
) -> None:
    mine = committed_participant(pending=True)
    with transaction() as session:
        do(session, reset(mine))
        chosen = token(session, Purpose.PASSWORD_RESET)
    hashed = hash_password(PASSWORD)

    def choose(session: Session) -> Any:
        return choose_password(session, keys(), chosen, hashed)

    def confirm(session: Session) -> Any:
        return confirm_address(session, keys(), token(session), password_given=True)

    first, second = second_waits_for_first(threads, *((choose, confirm) if password_first else (confirm, choose)))
    if password_first:
        assert second is Code.INVALID_LINK
        assert rows(ACCOUNTS) == [(OLD, 1)]
    else:
        assert (first.verdict.state, second) == ("applied", Code.INVALID_LINK)
        assert rows("SELECT password_hash FROM account") == [("old",)]


@pytest.mark.parametrize("reset_first", [True, False])
def test_a_reset_asked_for_at_the_moment_of_the_change(threads: ThreadPoolExecutor, reset_first: bool) -> None:
    mine = committed_participant(pending=True)
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
        assert second_waits_for_first(threads, sweep, ask) == ({"applied": 1}, "sent")
        expected = [(NEW, "owed")]
    assert rows("SELECT to_address, state FROM email WHERE kind = 'password_reset'") == expected


def test_a_mail_in_a_mailers_hands_is_not_sent_to_the_old_address_any_more(fresh_database: str) -> None:
    mine = committed_participant()
    with transaction() as session:
        do(session, reset(mine))
    with transaction() as session:
        held = ledger.claim(session, EMAILS, Queue.EMAILS, size=20, lease=30, worker=new_id())
    with transaction() as session:
        do(session, CorrectEmailByOps(account_id=account_id(session), email=NEW, reason="asked"))
    with transaction() as session:
        letters = {letter.row.columns.kind: letter for letter in write_letters(session, held)}
        assert letters.keys() == {"password_reset"}
        assert letters["password_reset"].unsent == "cancelled"
        live = rows("SELECT count(*) FROM link WHERE voided_at IS NULL AND consumed_at IS NULL")
        assert live == [(1,)]  # the link sent to the new address
        left = ledger.claim(session, EMAILS, Queue.EMAILS, size=20, lease=30, worker=new_id())
        told = {(one.row.columns.to_address, one.unsent) for one in write_letters(session, left)}
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
        ("at once", correction_changes, "cancel_mails_to_former_addresses"),
        ("at once", correction_jobs, "record"),
        ("pending", correction_jobs, "insert_links"),
        ("pending", correction_jobs, "owe"),
        ("apply", correction_verdicts, "follow_up"),
        ("apply", correction_verdicts, "mark_applied"),
        ("apply", correction_changes, "cancel_mails_to_former_addresses"),
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
    after = all_rows()
    with transaction() as session:
        assert ledger.claim(session, JOBS, Queue.ENROLLMENTS, size=50, lease=30, worker=new_id()) == []
    assert all_rows() == after
    assert rows("SELECT count(*) FROM job_attempt") == [(1,)]


def test_a_worker_taken_for_dead_wakes_up_and_does_nothing(fresh_database: str) -> None:
    prepared("at once")
    held = claimed()
    assert BatchRun(JOBS, do_jobs).run(held)
    before = all_rows()
    BatchRun(JOBS, do_jobs).run(held)
    assert all_rows() == before
