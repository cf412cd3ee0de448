"""A correction cannot take over an account: neither a manager nor the holder of a link for another
purpose can do it.
"""

import pytest
from sqlalchemy import text

from models.base import new_id
from models.retention import RetentionClass
from models.words import Code, Purpose
from tests.kit.builders.accounts import PASSWORD, keys
from tests.kit.builders.contracts import (
    did,
    enrol_people,
    enrolled,
    query,
    results,
    someone,
)
from tests.kit.builders.corrections import (
    LIVE,
    NEW,
    OLD,
    OTHER,
    account,
    account_id,
    activate,
    agree,
    answer_token,
    by_ops,
    code_of,
    confirm,
    correct,
    corrections,
    do,
    enrol_also,
    later,
    participant,
    sweep,
    token,
)
from workers.access.passwords import choose_password, hash_password
from workers.corrections.answers import agree_to_correction, confirm_address, refuse_correction
from workers.database import Session
from workers.people.retention import purge
from workers.requests.accounts import CorrectEmail, ResetPasswords
from workers.requests.enrollment import PersonToEnroll, Withdraw


def test_a_reset_goes_to_the_old_address_until_the_correction_is_applied(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    assert results(did(session, ResetPasswords(contract="C-1", enrollment_ids=[enrollment_id]))[0]) == ["sent"]
    assert query(session, "SELECT to_address FROM email WHERE kind = 'password_reset'") == [(OLD,)]
    confirm(session)
    did(session, ResetPasswords(contract="C-1", enrollment_ids=[enrollment_id]))
    assert query(session, "SELECT DISTINCT to_address FROM email WHERE kind = 'password_reset'") == [(OLD,)]
    assert agree(session) == "applied"
    assert query(session, "SELECT DISTINCT state FROM email WHERE kind = 'password_reset'") == [("cancelled",)]
    assert query(session, LIVE) == []  # the requested reset is void with all other links
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


def test_an_enrollment_of_another_portal_is_unknown_but_its_company_counts(session: Session) -> None:
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


def test_a_former_participant_cannot_be_corrected(session: Session) -> None:
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
    [(since,)] = query(session, "SELECT created_at FROM suppression")
    assert correct(session, enrollment_id, NEW) == ("suppressed_address", {"since": since.isoformat()})
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
        purge(session)[RetentionClass.THROTTLE] == 6
    )  # the limits of address and portal; ten days are left of the others
    assert correct(session, enrollment_id, NEW)[0] == "throttled"
    later(session, days=10)
    assert correct(session, enrollment_id, NEW)[0] == "confirmation_sent"


def test_withdrawn_and_enrolled_again_it_is_the_same_person(session: Session) -> None:
    """Otherwise a manager could fill a mailbox with questions until the person clicks."""
    codes, enrollment_id = [], participant(session)
    for number in range(4):
        codes.append(correct(session, enrollment_id, f"x{number}@example.org")[0])
        did(session, Withdraw(contract="C-1", enrollment_ids=[enrollment_id], notify=False))
        [enrollment_id] = enrolled(session, someone(OLD))
    assert codes == [*["confirmation_sent"] * 3, "throttled"]


def test_one_mailbox_is_not_filled_through_many_participants(session: Session) -> None:
    ids = [participant(session, f"p{number}@example.com") for number in range(4)]
    assert [correct(session, one, NEW)[0] for one in ids] == [*["confirmation_sent"] * 3, "throttled"]


# Tokens


def test_no_token_works_for_another_purpose(session: Session) -> None:
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
    assert confirm(session, password_given=True) == "applied"  # Luc's correction; Anne's still waits
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


def test_a_correction_overtaken_by_operators_does_not_come_back(session: Session) -> None:
    enrollment_id = participant(session)
    correct(session, enrollment_id)
    activate(session)
    by_ops(session, account_id(session), NEW)
    assert sweep(session) == {}
    assert correct(session, enrollment_id, OLD)[0] == "confirmation_sent"  # going back needs both mailboxes again
