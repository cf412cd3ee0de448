"""Events that end or renew a pending correction: another company, a password, another request."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import Code, CorrectionState, Purpose
from tests.kit.builders.accounts import PASSWORD, keys
from tests.kit.builders.contracts import did, enrol_people, query
from tests.kit.builders.corrections import (
    LIVE,
    NEW,
    OLD,
    OTHER,
    account,
    code_of,
    confirm,
    correct,
    corrections,
    enrol_also,
    later,
    mails,
    notice_sent,
    participant,
    sweep,
    token,
)
from workers.access.passwords import choose_password, hash_password
from workers.corrections.answers import confirm_address
from workers.corrections.jobs import correct_email
from workers.database import Session
from workers.engine.ledger import ClaimedRow, JobColumns
from workers.requests.accounts import CorrectEmail, ResetPasswords
from workers.requests.enrollment import PersonToEnroll, Withdraw


def test_another_company_that_enrols_them_meanwhile_ends_it(session: Session) -> None:
    correct(session, participant(session))
    enrol_also(session)
    assert confirm(session, password_given=True) == "cancelled"
    assert corrections(session) == [("cancelled", "shared", NEW)]
    assert account(session)[0] == OLD


def test_an_enrollment_of_the_new_address_meanwhile_ends_it(session: Session) -> None:
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
    assert correct(session, enrollment_id)[0] == "confirmation_sent"  # requested again, it starts again
    assert [state for state, _, _ in corrections(session)] == ["cancelled", "pending"]


def test_a_password_chosen_meanwhile_ends_it_before_a_repeated_request(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    did(session, ResetPasswords(contract="C-1", enrollment_ids=[enrollment_id]))
    choose_password(session, keys(), token(session, Purpose.PASSWORD_RESET), hash_password(PASSWORD))
    correct(session, enrollment_id)
    assert [(state, ground) for state, ground, _ in corrections(session)] == [
        ("cancelled", "links_voided"), ("pending", None)]  # fmt: skip
    assert confirm(session) == "pending"


# Requested again


def test_the_same_again_mails_the_same_link_and_wins_no_time(session: Session) -> None:
    enrollment_id = participant(session)
    first = correct(session, enrollment_id)
    link = token(session)
    later(session, days=1)
    code, detail = correct(session, enrollment_id)
    assert (code, detail != first[1]) == ("confirmation_sent", True)  # its end still counts from the first request
    assert token(session) == link
    assert [kind for kind, _, _ in mails(session)] == [*["correction_confirmation"] * 2, "correction_notice"]
    confirm(session)
    [(confirmed_at, asked_at)] = query(session, "SELECT confirmed_at, asked_at FROM email_correction")
    until = (asked_at + timedelta(days=14)).isoformat()
    detail = {"since": confirmed_at.isoformat(), "until": until}
    assert correct(session, enrollment_id) == ("agreement_awaited", detail)
    assert len(mails(session)) == 3  # nothing left to confirm, so no mail is owed
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


def test_a_correction_ready_to_apply_is_applied_before_another_request(session: Session) -> None:
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
        [(portal_id,)] = query(session, "SELECT id FROM portal")
        columns = JobColumns(request.kind, portal_id, request.model_dump_json(), 0, "")
        rows.append(ClaimedRow(new_id(), 1, 0, 0, new_id(), columns))
    assert [code_of(one) for one in correct_email(session, rows)] == ["confirmation_sent", "corrected"]
    before = mails(session), corrections(session), query(session, "SELECT * FROM link ORDER BY id")
    assert [code_of(one) for one in correct_email(session, rows)] == ["confirmation_sent", "unchanged"]
    assert (mails(session), corrections(session), query(session, "SELECT * FROM link ORDER BY id")) == before
