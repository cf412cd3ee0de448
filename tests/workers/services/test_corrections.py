"""Correcting an address: at once where nobody can be robbed by it, else only as far as both mailboxes let it."""

import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.correction import LASTS
from models.retention import Matter
from models.words import Code, CorrectionState, Purpose
from tests.accounts import PASSWORD, keys
from tests.contracts import add_contract, did, enrol_people, query, results
from tests.corrections import (
    NEW,
    OLD,
    OTHER,
    account,
    account_id,
    activate,
    answer_token,
    by_ops,
    code_of,
    correct,
    corrections,
    do,
    enrol_also,
    later,
    mails,
    notice_sent,
    participant,
    sweep,
    token,
)
from workers.database import Session
from workers.ledger import Claimed
from workers.requests import CorrectEmail, Enroll, PersonToEnroll, ResetPasswords, Withdraw
from workers.services.correction_answers import agree_to_correction, confirm_address, refuse_correction
from workers.services.corrections import correct_email
from workers.services.lockouts import count_failure, subjects_of
from workers.services.passwords import choose_password, hash_password
from workers.services.retention import purge

LIVE = "SELECT purpose FROM link WHERE consumed_at IS NULL AND voided_at IS NULL ORDER BY purpose"
ENTRIES = (
    "SELECT action, result, CAST(detail AS text), requested_by FROM audit WHERE action LIKE '%correct%' ORDER BY id"
)


def confirm(session: Session, *, password_given: bool = False) -> str:
    heard = confirm_address(session, keys(), token(session), password_given=password_given)
    return heard.value if isinstance(heard, Code) else heard.verdict.state.value


def agree(session: Session) -> str:
    heard = agree_to_correction(session, keys(), answer_token(session))
    return heard.value if isinstance(heard, Code) else heard.verdict.state.value


def refuse(session: Session) -> str:
    heard = refuse_correction(session, keys(), answer_token(session))
    return heard.value if isinstance(heard, Code) else heard.verdict.state.value


# Never activated


def test_an_account_never_activated_has_the_right_address_at_once_and_is_invited_there(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    [(old_link,)] = query(session, "SELECT id FROM link")
    assert correct(session, enrollment_id) == ("corrected", {"invitations": 1})
    assert account(session) == (NEW, False, 1)
    assert corrections(session) == [("applied", "never_activated", NEW)]
    assert mails(session) == [("correction_notice", OLD, "owed"), ("invitation", NEW, "owed")]
    assert query(session, LIVE) == [("activation",)]
    assert query(session, "SELECT voided_at IS NOT NULL FROM link WHERE id = :id", id=old_link) == [(True,)]
    assert query(session, "SELECT enrollment_id FROM email WHERE to_address = :to", to=NEW) == [(enrollment_id,)]


def test_nobody_is_told_at_an_address_no_mail_has_left_for(session: Session) -> None:
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
    assert ("invitation", OLD, state) in mails(session)  # in a mailer's hands, which looks again before it sends


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


def test_who_was_to_be_told_nothing_is_told_nothing_at_the_right_address_either(session: Session) -> None:
    add_contract(session)
    person = PersonToEnroll(email=OLD, first_name="Anne", last_name="Le Dû")
    [job] = did(session, Enroll(contract="C-1", people=[person], notify=False))
    [enrollment_id] = [UUID(one["enrollment_id"]) for one in job["result"]["people"]]
    assert correct(session, enrollment_id) == ("corrected", {"invitations": 0})
    assert (account(session)[0], mails(session), query(session, LIVE)) == (NEW, [], [])


def test_an_invitation_whose_mail_is_forgotten_goes_out_for_the_latest_training(session: Session) -> None:
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


def test_a_warning_that_went_astray_counts_for_nothing_and_the_lock_of_the_old_address_is_forgotten(
    session: Session,
) -> None:
    enrollment_id = participant(session, activated=False)
    session.execute(text("UPDATE enrollment SET release_warned_at = now()"))
    count_failure(session, subjects_of(OLD, account_id(session)))
    correct(session, enrollment_id)
    assert query(session, "SELECT release_warned_at FROM enrollment") == [(None,)]
    assert query(session, "SELECT subject FROM sign_in") == [(account_id(session, NEW),)]


# Activated


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


# Takeovers


def test_a_reset_after_a_correction_goes_to_the_old_address_until_it_is_applied(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    assert results(did(session, ResetPasswords(contract="C-1", enrollment_ids=[enrollment_id]))[0]) == ["sent"]
    assert query(session, "SELECT to_address FROM email WHERE kind = 'password_reset'") == [(OLD,)]
    confirm(session)
    did(session, ResetPasswords(contract="C-1", enrollment_ids=[enrollment_id]))
    assert query(session, "SELECT DISTINCT to_address FROM email WHERE kind = 'password_reset'") == [(OLD,)]
    assert agree(session) == "applied"
    assert query(session, "SELECT DISTINCT state FROM email WHERE kind = 'password_reset'") == [("cancelled",)]
    assert query(session, LIVE) == []  # the reset that was asked for is void with all else
    did(session, ResetPasswords(contract="C-1", enrollment_ids=[enrollment_id]))
    assert query(session, "SELECT to_address FROM email WHERE kind = 'password_reset' AND state = 'owed'") == [(NEW,)]


@pytest.mark.parametrize("activated", [True, False])
@pytest.mark.parametrize("detached", [True, False])
def test_an_account_another_company_has_too_is_left_alone(session: Session, activated: bool, detached: bool) -> None:
    mine = participant(session, activated=activated)
    theirs = enrol_also(session)
    if detached:
        session.execute(text("UPDATE enrollment SET detached_at = now() WHERE id = :id"), {"id": theirs})
    before = query(session, LIVE)
    assert correct(session, mine) == ("shared_account", None)
    assert (account(session)[0], corrections(session), query(session, LIVE)) == (OLD, [], before)
    left = results(did(session, Withdraw(contract="C-2", enrollment_ids=[theirs]))[0])
    free = "confirmation_sent" if activated else "corrected"
    assert (left, correct(session, mine)[0]) == (
        (["detached"], "shared_account") if detached else (["withdrawn"], free)
    )


def test_another_portals_enrollment_is_nobodys_and_its_company_counts(session: Session) -> None:
    mine = participant(session)
    portal_id = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'hr')"), {"id": portal_id})
    asked = CorrectEmail(enrollment_id=mine, email=NEW)
    assert code_of(do(session, asked, portal_id=portal_id)) == "not_found"
    theirs = enrol_also(session, contract="C-2")
    session.execute(
        text("""
            UPDATE contract SET portal_id = :portal,
              company_id = (SELECT company_id FROM contract WHERE reference = 'C-1')
            WHERE reference = 'C-2'"""),
        {"portal": portal_id},
    )
    assert code_of(do(session, asked)) == "shared_account"
    assert code_of(do(session, CorrectEmail(enrollment_id=theirs, email=NEW), portal_id=portal_id)) == "shared_account"


def test_who_is_no_participant_any_more(session: Session) -> None:
    enrollment_id = participant(session)
    assert correct(session, new_id()) == ("not_found", None)
    session.execute(text("UPDATE enrollment SET detached_at = now()"))
    assert correct(session, enrollment_id)[0] == "detached"
    session.execute(text("UPDATE account SET erased_at = now()"))
    assert correct(session, enrollment_id) == ("not_found", None)
    session.execute(text("UPDATE account SET erased_at = NULL"))
    session.execute(text("UPDATE enrollment SET detached_at = NULL"))
    did(session, Withdraw(contract="C-1", enrollment_ids=[enrollment_id]))
    code, detail = correct(session, enrollment_id)
    assert (code, detail.keys()) == ("already_withdrawn", {"since"})


@pytest.mark.parametrize("activated", [True, False])
def test_an_address_that_is_taken_or_rejected_or_the_same(session: Session, activated: bool) -> None:
    enrollment_id = participant(session, activated=activated)
    enrol_people(session, PersonToEnroll(email=OTHER, first_name="Luc", last_name="Bon"))
    session.execute(text("INSERT INTO suppression (email_norm, reason) VALUES (:e, 'hard_bounce')"), {"e": NEW})
    assert correct(session, enrollment_id, OTHER) == ("address_taken", None)
    assert correct(session, enrollment_id, NEW) == ("suppressed_address", None)
    assert correct(session, enrollment_id, OLD) == ("unchanged", None)
    assert correct(session, enrollment_id, f"Anne <{OLD.upper()}>") == ("unchanged", None)
    assert (account(session)[0], corrections(session)) == (OLD, [])


def test_three_in_thirty_days_and_an_attempt_on_a_taken_address_counts(session: Session) -> None:
    enrollment_id = participant(session)
    enrol_people(session, PersonToEnroll(email=OTHER, first_name="Luc", last_name="Bon"))
    asked = [correct(session, enrollment_id, email)[0] for email in (OTHER, NEW, NEW)]
    assert asked == ["address_taken", "confirmation_sent", "confirmation_sent"]
    later(session, days=20)
    code, detail = correct(session, enrollment_id, NEW)
    assert (code, detail.keys()) == ("throttled", {"from"})
    assert (
        purge(session)[Matter.THROTTLE] == 6
    )  # those against the address and the portal; ten days are left of the others
    assert correct(session, enrollment_id, NEW)[0] == "throttled"
    later(session, days=10)
    assert correct(session, enrollment_id, NEW)[0] == "confirmation_sent"


def test_one_mailbox_is_not_filled_through_many_participants(session: Session) -> None:
    ids = [participant(session, f"p{number}@example.com") for number in range(4)]
    assert [correct(session, one, NEW)[0] for one in ids] == [*["confirmation_sent"] * 3, "throttled"]


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
    assert correct(session, enrollment_id)[0] == "confirmation_sent"
    assert len(mails(session)) == 3  # nothing to confirm any more
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


# Ops


@pytest.mark.parametrize("activated", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_ops_correct_at_once_whoever_has_the_account(session: Session, activated: bool, shared: bool) -> None:
    participant(session, activated=activated)
    if shared:
        enrol_also(session)
    whose = account_id(session)
    assert by_ops(session, whose) == "corrected"
    assert account(session) == (NEW, activated, 2 if activated else 1)
    assert corrections(session) == [("applied", "ops", NEW)]
    owed = [(kind, to) for kind, to, state in mails(session) if state == "owed"]
    if activated:
        assert owed == [("correction_applied", NEW), ("correction_applied", OLD)]
    else:
        assert owed == [("correction_notice", OLD), *[("invitation", NEW)] * (2 if shared else 1)]
    assert by_ops(session, whose) == "unchanged"


def test_ops_are_refused_what_cannot_be(session: Session) -> None:
    participant(session)
    whose = account_id(session)
    enrol_people(session, PersonToEnroll(email=OTHER, first_name="Luc", last_name="Bon"))
    assert by_ops(session, whose, OTHER) == "address_taken"
    assert by_ops(session, new_id()) == "not_found"
    assert (account(session)[0], corrections(session)) == (OLD, [])


def test_ops_take_back_what_was_pending(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    first = token(session)
    assert by_ops(session, account_id(session), OTHER) == "corrected"
    assert [state for state, _, _ in corrections(session)] == ["superseded", "applied"]
    assert confirm_address(session, keys(), first, password_given=True) is Code.INVALID_LINK
    assert account(session)[0] == OTHER


# Traces


def test_the_audit_trail_tells_all_and_names_nobody(session: Session) -> None:
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


# Tokens


def test_no_token_does_what_another_is_for(session: Session) -> None:
    correct(session, participant(session))
    correct(session, participant(session, "luc@example.com"), OTHER)
    activation_of = participant(session, "eve@example.com", activated=False)
    before = query(session, "SELECT * FROM account ORDER BY id"), corrections(session)
    confirmation, answer, activation = token(session), answer_token(session), token(session, Purpose.ACTIVATION)
    assert activation_of
    hashed = hash_password(PASSWORD)
    for other in (confirmation, answer):
        assert choose_password(session, keys(), other, hashed) is Code.INVALID_LINK
    for other in (answer, activation):
        assert confirm_address(session, keys(), other, password_given=True) is Code.INVALID_LINK
    for other in (confirmation, activation):
        assert agree_to_correction(session, keys(), other) is Code.INVALID_LINK
        assert refuse_correction(session, keys(), other) is Code.INVALID_LINK
    assert (query(session, "SELECT * FROM account ORDER BY id"), corrections(session)) == before
    assert confirm(session, password_given=True) == "applied"  # luc's: anne's waits as before
    assert account(session)[0] == OLD


@pytest.mark.parametrize("change", ["version = 2", "key_id = 'withdrawn'", "expires_at = now()", "voided_at = now()",
                                    "consumed_at = now()"])  # fmt: skip
def test_a_link_that_is_over_does_nothing(session: Session, change: str) -> None:
    correct(session, participant(session))
    confirmation, answer = token(session), answer_token(session)
    session.execute(text(f"UPDATE link SET {change} WHERE subject_id IS NOT NULL"))
    before = corrections(session)
    for done in (
        confirm_address(session, keys(), confirmation, password_given=True),
        agree_to_correction(session, keys(), answer),
        refuse_correction(session, keys(), answer),
    ):
        assert isinstance(done, Code)
    assert (corrections(session), account(session)[0]) == (before, OLD)


def test_a_correction_whose_account_ops_gave_the_address_of_another_does_not_come_back(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    activate(session)
    by_ops(session, account_id(session), NEW)
    assert sweep(session) == {}
    assert correct(session, enrollment_id, OLD)[0] == "confirmation_sent"  # going back takes the same two mailboxes
