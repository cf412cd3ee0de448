"""A correction that waits: only as far as both mailboxes let it, and never for longer than its time."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.correction import LASTS
from models.suppression import HARD_BOUNCE_LIFETIME
from models.words import Code, CorrectionState, Purpose
from tests.accounts import PASSWORD, keys
from tests.contracts import did, enrol_people, query
from tests.corrections import (
    LIVE,
    NEW,
    OLD,
    OTHER,
    account,
    agree,
    code_of,
    confirm,
    correct,
    corrections,
    enrol_also,
    later,
    mails,
    notice_sent,
    participant,
    refuse,
    sweep,
    token,
)
from workers.database import Session
from workers.ledger import Claimed
from workers.requests import CorrectEmail, PersonToEnroll, ResetPasswords, Withdraw
from workers.services.correction_answers import confirm_address
from workers.services.corrections import correct_email
from workers.services.lockouts import count_failure, subjects_of
from workers.services.passwords import choose_password, hash_password


def test_an_activated_account_keeps_its_address_and_both_mailboxes_are_asked(session: Session) -> None:
    enrollment_id = participant(session)
    [(until,)] = query(session, "SELECT now() + CAST(:lasts AS interval)", lasts=LASTS)
    assert correct(session, enrollment_id) == ("confirmation_sent", {"until": until.isoformat()})
    assert account(session) == (OLD, True, 1)
    assert corrections(session) == [("pending", None, NEW)]
    assert mails(session) == [("correction_confirmation", NEW, "owed"), ("correction_notice", OLD, "owed")]
    assert query(session, LIVE) == [("correction_answer",), ("correction_confirmation",)]
    sweep(session)
    assert account(session)[0] == OLD


@pytest.mark.parametrize("ground", ["password", "agreement", "agreement first", "hard_bounce", "suppressed", "silence"])
def test_it_is_applied_on_each_of_its_grounds_once_the_new_address_has_confirmed(session: Session, ground: str) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    count_failure(session, subjects_of(OLD, None))
    match ground:
        case "password":
            assert confirm(session, password_given=True) == "applied"
        case "agreement":
            assert confirm(session) == "pending"
            assert agree(session) == "applied"
        case "agreement first":
            assert agree(session) == "pending"
            assert confirm(session) == "applied"
        case "hard_bounce":
            error = json.dumps({"class": "failed", "reason": "address_rejected"})
            session.execute(
                text("UPDATE email SET state = 'failed', error = :e WHERE kind = 'correction_notice'"), {"e": error}
            )
            assert confirm(session) == "applied"
        case "suppressed":
            session.execute(text("INSERT INTO suppression (email_norm, reason) VALUES (:e, 'hard_bounce')"), {"e": OLD})
            assert sweep(session) == {}
            assert confirm(session) == "applied"
        case "silence":
            notice_sent(session, hours=73)
            assert confirm(session) == "applied"
    expected = {"agreement first": "agreement", "suppressed": "hard_bounce"}.get(ground, ground)
    assert corrections(session) == [("applied", expected, NEW)]
    assert account(session) == (NEW, True, 2)
    owed = [(kind, to) for kind, to, state in mails(session) if state == "owed"]
    assert owed == [("correction_applied", NEW), ("correction_applied", OLD)]
    assert query(session, LIVE) == []
    assert query(session, "SELECT count(*) FROM sign_in") == [(0,)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE email SET state = 'failed', error = '{\"reason\": \"policy\"}' WHERE kind = 'correction_notice'",
        (
            "UPDATE email SET state = 'owed', error = '{\"reason\": \"address_rejected\"}'"
            " WHERE kind = 'correction_notice'"
        ),
        (
            "UPDATE email SET state = 'uncertain', finished_at = now() - interval '9 days'"
            " WHERE kind = 'correction_notice'"
        ),
        (
            "UPDATE email SET state = 'suppressed', finished_at = now() - interval '9 days'"
            " WHERE kind = 'correction_notice'"
        ),
        "INSERT INTO suppression (email_norm, reason) VALUES ('anne@example.com', 'ops')",
        (
            "INSERT INTO suppression (email_norm, reason, until)"
            " VALUES ('anne@example.com', 'hard_bounce', now() - interval '1 hour')"
        ),
        "UPDATE email_correction SET asked_at = asked_at - interval '10 days'",  # a relay that is down is no silence
    ],
)
def test_what_is_no_ground(session: Session, change: str) -> None:
    correct(session, participant(session))
    session.execute(text(change))
    assert confirm(session) == "pending"
    assert sweep(session) == {}
    assert account(session)[0] == OLD


LISTED = text("""
    INSERT INTO suppression (email_norm, reason, created_at, until)
    VALUES ('anne@example.com', 'hard_bounce', now() - CAST(:first AS interval),
      now() - CAST(:last AS interval) + CAST(:lasts AS interval))""")


@pytest.mark.parametrize(("last", "verdict"), [("6 days", "pending"), ("1 second", "pending"), ("0", "applied")])
def test_a_bounce_from_before_it_was_asked_for_proves_nothing(session: Session, last: str, verdict: str) -> None:
    """A listing is prolonged by each bounce: its end says when the last was."""
    enrollment_id = participant(session)
    session.execute(LISTED, {"first": "6 days", "last": last, "lasts": HARD_BOUNCE_LIFETIME})
    correct(session, enrollment_id)
    assert confirm(session) == verdict
    assert sweep(session) == {}
    assert account(session)[0] == (NEW if verdict == "applied" else OLD)


def test_a_mailbox_that_said_no_before_says_nothing_by_being_no_more(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    refuse(session)
    later(session, days=1)
    correct(session, enrollment_id, OTHER)
    session.execute(LISTED, {"first": "0", "last": "0", "lasts": HARD_BOUNCE_LIFETIME})
    assert confirm(session) == "pending"
    assert sweep(session) == {}
    assert agree(session) == "applied"


def test_silence_is_heard_by_the_sweep_and_not_a_moment_early(session: Session) -> None:
    correct(session, participant(session))
    notice_sent(session, hours=71)
    assert confirm(session) == "pending"
    assert sweep(session) == {}
    later(session, days=1 / 24)
    assert sweep(session) == {"applied": 1}
    assert corrections(session) == [("applied", "silence", NEW)]
    assert sweep(session) == {}
    assert account(session) == (NEW, True, 2)
    assert [kind for kind, _, _ in mails(session)].count("correction_applied") == 2


def test_silence_of_who_said_no_before_counts_for_nothing(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    assert refuse(session) == "cancelled"
    later(session, days=40)
    correct(session, enrollment_id)
    notice_sent(session, hours=100)
    assert confirm(session) == "pending"
    assert sweep(session) == {}
    assert agree(session) == "applied"
    assert [ground for _, ground, _ in corrections(session)] == ["refusal", "agreement"]


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_old_address_says_no_and_nothing_changes(session: Session, confirmed: bool) -> None:
    correct(session, participant(session))
    if confirmed:
        confirm(session)
    notice_sent(session, hours=100)
    assert refuse(session) == "cancelled"
    assert corrections(session) == [("cancelled", "refusal", NEW)]
    assert sweep(session) == {}
    assert account(session) == (OLD, True, 1)
    assert query(session, LIVE) == []
    assert [state for kind, _, state in mails(session) if kind == "correction_confirmation"] == ["cancelled"]
    assert confirm(session) in {"invalid_link", "used_link"}
    assert (refuse(session), agree(session)) == ("used_link", "used_link")


@pytest.mark.parametrize(("confirmed", "days", "states"), [(False, 14, {"expired": 1}), (True, 14, {"expired": 1}),
                                                           (False, 13.9, {}), (True, 13.9, {})])  # fmt: skip
def test_what_is_not_ripe_in_time_expires(session: Session, confirmed: bool, days: float, states: Any) -> None:
    correct(session, participant(session))
    if confirmed:
        confirm(session)
    later(session, days)
    assert sweep(session) == states
    assert account(session)[0] == OLD
    if states:
        assert (corrections(session), query(session, LIVE)) == ([("expired", None, NEW)], [])


def test_another_company_that_enrols_them_meanwhile_ends_it(session: Session) -> None:
    correct(session, participant(session))
    enrol_also(session)
    assert confirm(session, password_given=True) == "cancelled"
    assert corrections(session) == [("cancelled", "shared", NEW)]
    assert account(session)[0] == OLD


def test_an_address_somebody_is_enrolled_under_meanwhile_ends_it(session: Session) -> None:
    correct(session, participant(session))
    enrol_people(session, PersonToEnroll(email=NEW, first_name="Luc", last_name="Bon"))
    assert sweep(session) == {"cancelled": 1}
    assert corrections(session) == [("cancelled", "taken", NEW)]


@pytest.mark.parametrize("how", ["withdrawn", "detached"])
def test_a_company_that_has_the_person_no_more_gets_nothing(session: Session, how: str) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    notice_sent(session, hours=100)
    confirmation = token(session)
    if how == "withdrawn":
        did(session, Withdraw(contract="C-1", enrollment_ids=[enrollment_id]))
    else:
        session.execute(text("UPDATE enrollment SET detached_at = now()"))
    heard = confirm_address(session, keys(), confirmation, password_given=True)
    assert not isinstance(heard, Code)
    assert heard.verdict.state is CorrectionState.CANCELLED
    assert corrections(session) == [("cancelled", "not_theirs", NEW)]


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_password_chosen_meanwhile_ends_it(session: Session, confirmed: bool) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    if confirmed:
        confirm(session)
    notice_sent(session, hours=100)
    did(session, ResetPasswords(contract="C-1", enrollment_ids=[enrollment_id]))
    reset = token(session, Purpose.PASSWORD_RESET)
    assert not isinstance(choose_password(session, keys(), reset, hash_password(PASSWORD)), Code)
    assert sweep(session) == {"cancelled": 1}
    assert corrections(session) == [("cancelled", "links_voided", NEW)]
    assert account(session)[0] == OLD
    assert correct(session, enrollment_id)[0] == "confirmation_sent"  # asked for once more, it begins afresh
    assert [state for state, _, _ in corrections(session)] == ["cancelled", "pending"]


def test_a_password_chosen_meanwhile_ends_it_also_when_it_is_asked_for_again_before_the_sweep(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    did(session, ResetPasswords(contract="C-1", enrollment_ids=[enrollment_id]))
    choose_password(session, keys(), token(session, Purpose.PASSWORD_RESET), hash_password(PASSWORD))
    correct(session, enrollment_id)
    assert [(state, ground) for state, ground, _ in corrections(session)] == [
        ("cancelled", "links_voided"), ("pending", None)]  # fmt: skip
    assert confirm(session) == "pending"


# Asked for again


def test_the_same_again_mails_the_same_link_and_wins_no_time(session: Session) -> None:
    enrollment_id = participant(session)
    first = correct(session, enrollment_id)
    link = token(session)
    later(session, days=1)
    code, detail = correct(session, enrollment_id)
    assert (code, detail != first[1]) == ("confirmation_sent", True)  # it waits until the day it was asked first says
    assert token(session) == link
    assert [kind for kind, _, _ in mails(session)] == [*["correction_confirmation"] * 2, "correction_notice"]
    confirm(session)
    [(confirmed_at, asked_at)] = query(session, "SELECT confirmed_at, asked_at FROM email_correction")
    until = (asked_at + timedelta(days=14)).isoformat()
    detail = {"since": confirmed_at.isoformat(), "until": until}
    assert correct(session, enrollment_id) == ("agreement_awaited", detail)
    assert len(mails(session)) == 3  # nothing to confirm any more: no message is promised
    assert len(corrections(session)) == 1


def test_another_address_takes_the_place_of_the_first(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    first = token(session)
    assert correct(session, enrollment_id, OTHER)[0] == "confirmation_sent"
    assert corrections(session) == [("superseded", "taken_back", NEW), ("pending", None, OTHER)]
    assert mails(session) == [
        ("correction_confirmation", NEW, "cancelled"), ("correction_confirmation", OTHER, "owed"),
        ("correction_notice", OLD, "cancelled"), ("correction_notice", OLD, "owed")]  # fmt: skip
    assert confirm_address(session, keys(), first, password_given=True) is Code.INVALID_LINK
    assert confirm(session, password_given=True) == "applied"
    assert account(session)[0] == OTHER


def test_the_present_address_takes_a_correction_back(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    assert correct(session, enrollment_id, OLD) == ("unchanged", None)
    assert (corrections(session), query(session, LIVE)) == ([("superseded", "taken_back", NEW)], [])


def test_what_is_ripe_is_applied_before_anything_else_is_asked_for(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    confirm(session)
    notice_sent(session, hours=100)
    assert correct(session, enrollment_id, NEW) == ("unchanged", None)
    assert corrections(session) == [("applied", "silence", NEW)]


def test_a_job_done_twice_owes_nothing_twice(session: Session) -> None:
    used, never = participant(session), participant(session, "luc@example.com", activated=False)
    rows = []
    for enrollment_id, email in ((used, NEW), (never, OTHER)):
        request = CorrectEmail(enrollment_id=enrollment_id, email=email)
        columns = {"kind": request.kind, "request": request.model_dump_json()}
        [(portal_id,)] = query(session, "SELECT id FROM portal")
        rows.append(Claimed(new_id(), 1, 0, 0, new_id(), columns | {"portal_id": portal_id}))
    assert [code_of(one) for one in correct_email(session, rows)] == ["confirmation_sent", "corrected"]
    before = mails(session), corrections(session), query(session, "SELECT * FROM link ORDER BY id")
    assert [code_of(one) for one in correct_email(session, rows)] == ["confirmation_sent", "unchanged"]
    assert (mails(session), corrections(session), query(session, "SELECT * FROM link ORDER BY id")) == before
