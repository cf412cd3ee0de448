"""Correcting an address: at once where no person can lose an account by it, by operators in all cases,
with a record.
"""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import Code, Purpose
from tests.kit.builders.accounts import PASSWORD, keys
from tests.kit.builders.contracts import (
    add_contract,
    did,
    enrol_people,
    query,
    results,
)
from tests.kit.builders.corrections import (
    LIVE,
    NEW,
    OLD,
    OTHER,
    account,
    account_id,
    activate,
    by_ops,
    confirm,
    correct,
    corrections,
    enrol_also,
    mails,
    participant,
    refuse,
    sweep,
    token,
)
from workers.access import sign_ins
from workers.access.passwords import choose_password, hash_password
from workers.corrections import verdicts as correction_verdicts
from workers.corrections.answers import confirm_address
from workers.database import Session
from workers.outbox.suppression import lift, suppress
from workers.requests.accounts import CorrectEmail
from workers.requests.enrollment import Enroll, PersonToEnroll, Withdraw
from workers.security.lockouts import count_failure, subjects_of

ENTRIES = (
    "SELECT action, result, CAST(detail AS text), requested_by FROM audit WHERE action LIKE '%correct%' ORDER BY id"
)


# Never activated


def test_an_account_never_activated_is_corrected_at_once_and_invited(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    [(old_link,)] = query(session, "SELECT id FROM link")
    assert correct(session, enrollment_id) == ("corrected", {"invitations": 1})
    assert account(session) == (NEW, False, 1)
    assert corrections(session) == [("applied", "never_activated", NEW)]
    assert mails(session) == [("correction_notice", OLD, "owed"), ("invitation", NEW, "owed")]
    assert query(session, LIVE) == [("activation",)]
    assert query(session, "SELECT voided_at IS NOT NULL FROM link WHERE id = :id", id=old_link) == [(True,)]
    assert query(session, "SELECT enrollment_id FROM email WHERE to_address = :to", to=NEW) == [(enrollment_id,)]


def test_an_address_that_got_no_mail_is_not_told(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    session.execute(text("UPDATE email SET state = 'owed', due_at = now(), finished_at = NULL"))
    assert correct(session, enrollment_id)[0] == "corrected"
    assert mails(session) == [("invitation", NEW, "owed"), ("invitation", OLD, "cancelled")]


@pytest.mark.parametrize("state", ["sending", "uncertain"])
def test_an_address_a_mail_may_have_reached_is_told(session: Session, state: str) -> None:
    enrollment_id = participant(session, activated=False)
    session.execute(
        text("UPDATE email SET state = :state, due_at = now(), leased_until = now() + interval '1 minute'"),
        {"state": state},
    )
    correct(session, enrollment_id)
    assert ("correction_notice", OLD, "owed") in mails(session)
    assert ("invitation", OLD, state) in mails(session)  # a mailer holds it and reads the row again before it sends


def test_every_training_they_were_told_of_invites_them_again_and_no_other(session: Session) -> None:
    first = participant(session, activated=False)
    second = enrol_also(session, contract="C-2", company="acme")
    silent = enrol_also(session, contract="C-3", company="acme")
    withdrawn = enrol_also(session, contract="C-4", company="acme")
    detached = enrol_also(session, contract="C-5", company="acme")
    session.execute(text("DELETE FROM email WHERE enrollment_id = :id"), {"id": silent})
    session.execute(text("UPDATE enrollment SET detached_at = now() WHERE id = :id"), {"id": detached})
    did(session, Withdraw(contract="C-4", enrollment_ids=[withdrawn]))
    assert correct(session, first) == ("corrected", {"invitations": 2})
    told = query(session, "SELECT enrollment_id FROM email WHERE to_address = :to", to=NEW)
    assert sorted(one for (one,) in told) == sorted([first, second])
    assert query(session, LIVE) == [("activation",)]


def test_a_person_enrolled_without_a_mail_gets_none_at_the_new_address(session: Session) -> None:
    add_contract(session)
    person = PersonToEnroll(email=OLD, first_name="Anne", last_name="Le Dû")
    [job] = did(session, Enroll(contract="C-1", people=[person], notify=False))
    [enrollment_id] = [UUID(one["enrollment_id"]) for one in job["result"]["people"]]
    assert correct(session, enrollment_id) == ("corrected", {"invitations": 0})
    assert (account(session)[0], mails(session), query(session, LIVE)) == (NEW, [], [])


def test_an_invitation_without_its_mail_is_sent_for_the_latest_training(session: Session) -> None:
    participant(session, activated=False)
    latest = enrol_also(session, contract="C-2", company="acme")
    session.execute(text("UPDATE enrollment SET enrolled_at = now() + interval '1 second' WHERE id = :id"),
                    {"id": latest})  # fmt: skip
    session.execute(text("DELETE FROM email"))
    assert correct(session, latest) == ("corrected", {"invitations": 1})
    assert query(session, "SELECT enrollment_id FROM email") == [(latest,)]


def test_corrected_twice_they_are_invited_at_each_address_in_turn(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    assert correct(session, enrollment_id, NEW)[0] == "corrected"
    assert correct(session, enrollment_id, OTHER)[0] == "corrected"
    assert account(session)[0] == OTHER
    assert ("invitation", NEW, "cancelled") in mails(session)
    assert ("invitation", OTHER, "owed") in mails(session)
    assert query(session, LIVE) == [("activation",)]


def test_back_and_forth_in_one_batch_leaves_the_invitation_where_they_are(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    asked = [CorrectEmail(enrollment_id=enrollment_id, email=email) for email in (NEW, OLD)]
    assert [results(job) for job in did(session, *asked)] == [["corrected"], ["corrected"]]
    assert account(session)[0] == OLD
    assert ("invitation", OLD, "owed") in mails(session)
    assert ("invitation", NEW, "cancelled") in mails(session)


def test_a_correction_restarts_warnings_reminders_and_failure_counts(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    session.execute(text("UPDATE enrollment SET release_warned_at = now(), reminders = 3, next_reminder_at = NULL"))
    count_failure(session, subjects_of(OLD, account_id(session)))
    correct(session, enrollment_id)
    begun = query(session, "SELECT release_warned_at, reminders, next_reminder_at - now() FROM enrollment")
    assert begun == [(None, 0, timedelta(days=2))]
    assert query(session, "SELECT subject FROM sign_in") == [(account_id(session, NEW),)]


# Operators


@pytest.mark.parametrize("activated", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_operators_correct_any_account_at_once(session: Session, activated: bool, shared: bool) -> None:
    participant(session, activated=activated)
    if shared:
        enrol_also(session)
    whose = account_id(session)
    assert by_ops(session, whose) == "corrected"
    assert account(session) == (NEW, activated, 2 if activated else 1)
    assert corrections(session) == [("applied", "ops", NEW)]
    owed = [(kind, to) for kind, to, state in mails(session) if state == "owed"]
    if activated:
        assert owed == [("correction_applied", NEW), ("correction_applied", OLD), ("password_reset", NEW)]
    else:
        assert owed == [("correction_notice", OLD), *[("invitation", NEW)] * (2 if shared else 1)]
    assert by_ops(session, whose) == "unchanged"


def test_the_password_of_before_opens_no_account_that_ops_handed_over(session: Session) -> None:
    """A stranger at the first address may have chosen that password."""
    participant(session, activated=False)
    activate(session, password_hash=hash_password(PASSWORD))
    assert by_ops(session, account_id(session)) == "corrected"
    for address in (OLD, NEW):
        attempt = sign_ins.begin(session, address)
        assert isinstance(attempt, sign_ins.SignInAttempt)
        refused = sign_ins.end(session, attempt, sign_ins.check(attempt, PASSWORD))
        assert refused == sign_ins.SignInRefused(Code.WRONG_CREDENTIALS)
    reset = token(session, Purpose.PASSWORD_RESET)
    assert query(session, LIVE) == [("password_reset",)]
    assert not isinstance(choose_password(session, keys(), reset, hash_password("un autre, plus long")), Code)
    assert account(session) == (NEW, True, 3)


def test_two_corrections_of_ops_at_once_leave_one_way_to_choose_a_password(session: Session) -> None:
    participant(session)
    whose = account_id(session)
    by_ops(session, whose, OTHER)
    by_ops(session, whose, NEW)
    resets = "SELECT to_address, state FROM email WHERE kind = 'password_reset' ORDER BY to_address"
    assert query(session, resets) == [(NEW, "owed"), (OTHER, "cancelled")]
    assert query(session, LIVE) == [("password_reset",)]


def test_ops_are_refused_what_cannot_be(session: Session) -> None:
    participant(session)
    whose = account_id(session)
    enrol_people(session, PersonToEnroll(email=OTHER, first_name="Luc", last_name="Bon"))
    assert by_ops(session, whose, OTHER) == "address_taken"
    assert by_ops(session, new_id()) == "not_found"
    assert (account(session)[0], corrections(session)) == (OLD, [])


@pytest.mark.parametrize("activated", [True, False])
def test_ops_hand_no_account_to_an_address_no_mail_is_sent_to(session: Session, activated: bool) -> None:
    participant(session, activated=activated)
    whose = account_id(session)
    before = account(session)
    suppress(session, NEW, why="complaint", requested_by="ops")
    assert by_ops(session, whose) == "suppressed_address"
    assert (account(session), corrections(session), mails(session)) == (before, [], [])
    [(since,)] = query(session, "SELECT created_at FROM suppression")
    [(detail,)] = query(session, "SELECT detail FROM audit WHERE action = 'correct_email_by_ops'")
    assert detail == {"since": since.isoformat(), "reason": "lost its mailbox"}
    lift(session, NEW, requested_by="ops")
    assert by_ops(session, whose) == "corrected"


def test_ops_take_back_what_was_pending(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    first = token(session)
    assert by_ops(session, account_id(session), OTHER) == "corrected"
    assert [state for state, _, _ in corrections(session)] == ["superseded", "applied"]
    assert confirm_address(session, keys(), first, password_given=True) is Code.INVALID_LINK
    assert account(session)[0] == OTHER


# Records


def test_the_audit_trail_is_complete_and_contains_no_name(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    confirm(session)
    refuse(session)
    correct(session, enrollment_id, OTHER)
    confirm(session, password_given=True)
    by_ops(session, account_id(session, OTHER), OLD)
    entries = query(session, ENTRIES)
    assert [(action, result) for action, result, _, _ in entries] == [
        ("correct_email", "confirmation_sent"),
        ("confirm_correction", "done"),
        ("end_correction", "cancelled"),
        ("correct_email", "confirmation_sent"),
        ("confirm_correction", "done"),
        ("apply_correction", "applied"),
        ("apply_correction", "applied"),
        ("correct_email_by_ops", "corrected"),
    ]
    assert "lost its mailbox" in entries[-1][2]
    assert [asker for *_, asker in entries[:1]] == ["m-7"]
    assert "@" not in str(entries)
    assert query(session, "SELECT count(*) FROM throttle WHERE CAST(throttle AS text) LIKE '%@%'") == [(0,)]
    assert query(session, "SELECT count(*) FROM audit WHERE CAST(audit AS text) LIKE '%@%'") == [(0,)]


# Many at once


def test_more_than_one_transaction_takes_is_owed_as_another_job(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        correct(session, participant(session, f"p{number}@example.com"), f"new{number}@example.org")
    session.execute(text("UPDATE email_correction SET confirmed_at = now(), agreed_at = now()"))
    monkeypatch.setattr(correction_verdicts, "MOST_AT_ONCE", 2)
    assert sweep(session) == {"applied": 2}
    owed = "SELECT count(*) FROM job WHERE kind = 'apply_corrections' AND queue = 'maintenance' AND due_at IS NOT NULL"
    assert query(session, owed) == [(1,)]
    assert sweep(session) == {"applied": 1}
    assert query(session, owed) == [(1,)]  # no more mail to owe
