"""A report changes everything that believed its mail had arrived: once, and only of a mail that was sent."""

from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.bounce import BounceEffect, BounceKind, BounceReport, RecipientReport, decide_effect
from models.words import EmailKind, EmailState
from tests.kit.builders.contracts import add_contract, enrol_people, someone
from tests.kit.builders.letters import change, letters
from workers.bounces.recording import record_reports
from workers.database import Session
from workers.mail.renderer import render
from workers.sql import fetch_values

ANNE = "anne@example.com"


def hard(address: str = ANNE) -> BounceReport:
    one = RecipientReport((address,), "failed", 550, "5.1.1", "user unknown")
    return BounceReport(BounceKind.SOFT, (one,))


SOFT = BounceReport(BounceKind.SOFT, (RecipientReport((ANNE,), "failed", 552, "5.2.2", "mailbox full"),))
COMPLAINT = BounceReport(BounceKind.COMPLAINT, (RecipientReport((ANNE,)),))


@pytest.fixture
def sent(session: Session) -> Any:
    """The identifier of an invitation to Anne that was sent an hour ago."""
    add_contract(session)
    change(session, "UPDATE contract SET manager_email = 'chef@client.fr'")
    enrol_people(session, someone(ANNE, "Anne"))
    change(session, "UPDATE email SET state = 'sent', due_at = NULL, finished_at = now() - interval '1 hour'")
    [mail] = rows(session, "SELECT id FROM email")
    return mail[0]


def rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in session.execute(text(query))]


def effects(session: Session, *reports: tuple[Any, BounceReport]) -> list[str]:
    return [one.effect.value for one in record_reports(session, reports)]


def test_a_hard_bounce_tells_everyone_who_believed_it_had_arrived(session: Session, sent: Any) -> None:
    assert effects(session, (sent, hard())) == ["bounced"]
    [mail] = rows(
        session,
        "SELECT state, returned_at = now(), finished_at < now(), error ->> 'reason', error ->> 'status' FROM email"
        " WHERE kind = 'invitation'",
    )
    assert mail == ("bounced", True, True, "address_rejected", "5.1.1")
    assert rows(session, "SELECT email_norm, reason, until > now() FROM suppression") == [(ANNE, "hard_bounce", True)]
    assert rows(session, "SELECT next_reminder_at FROM enrollment") == [(None,)]
    owed = rows(session, "SELECT kind, to_address, due_at > now() FROM email WHERE state = 'owed'")
    assert owed == [("undeliverable", "chef@client.fr", True)]


@pytest.mark.parametrize("again", [hard(), SOFT, COMPLAINT])
def test_a_bounce_counts_once(session: Session, sent: Any, again: BounceReport) -> None:
    assert effects(session, (sent, hard()), (sent, hard())) == ["bounced", "nothing"]
    change(session, "DELETE FROM suppression")
    assert effects(session, (sent, again)) == ["nothing"]
    assert rows(session, "SELECT 1 FROM suppression") == []
    assert len(rows(session, "SELECT 1 FROM email")) == 2


def test_a_soft_bounce_is_noted_once_and_changes_nothing_else(session: Session, sent: Any) -> None:
    assert effects(session, (sent, SOFT), (sent, SOFT)) == ["noted", "nothing"]
    assert effects(session, (sent, SOFT)) == ["nothing"]
    found = rows(session, "SELECT state, error ->> 'reason', returned_at FROM email")
    assert found == [("sent", "mailbox_full", None)]
    assert rows(session, "SELECT 1 FROM suppression") == []
    assert rows(session, "SELECT next_reminder_at IS NOT NULL FROM enrollment") == [(True,)]
    assert effects(session, (sent, hard())) == ["bounced"]


def test_a_complaint_ends_the_mails_to_an_address_until_it_is_lifted(session: Session, sent: Any) -> None:
    assert effects(session, (sent, COMPLAINT)) == ["complained"]
    assert rows(session, "SELECT reason, until FROM suppression") == [("complaint", None)]
    assert rows(session, "SELECT next_reminder_at FROM enrollment") == [(None,)]
    assert rows(session, "SELECT state FROM email") == [("complained",)]  # the manager is not written to


def test_a_report_about_another_address_lists_nobody(session: Session, sent: Any) -> None:
    assert effects(session, (sent, hard("paul@autre.fr"))) == ["noted"]
    assert rows(session, "SELECT 1 FROM suppression") == []


def test_a_report_about_a_mail_that_is_not_kept_changes_nothing(session: Session, sent: Any) -> None:
    assert effects(session, (new_id(), hard())) == ["nothing"]
    assert rows(session, "SELECT state FROM email") == [("sent",)]


@pytest.mark.parametrize("state", EmailState)
@pytest.mark.parametrize("kind", BounceKind)
def test_only_a_mail_that_was_sent_comes_back(kind: BounceKind, state: EmailState) -> None:
    effect = decide_effect(kind, state, noted=False)
    counted = {"hard": "bounced", "soft": "noted", "complaint": "complained"}.get(kind)
    expected = {"sent": counted, "uncertain": counted, "sending": counted and "too_early"}.get(state)
    assert effect == (expected or BounceEffect.NOTHING)


def test_a_mail_that_may_have_left_is_not_sent_again_once_it_bounced(session: Session, sent: Any) -> None:
    change(session, "UPDATE email SET state = 'uncertain', due_at = now() + interval '1 hour', finished_at = NULL")
    assert effects(session, (sent, hard())) == ["bounced"]
    found = rows(session, "SELECT due_at, finished_at IS NOT NULL FROM email WHERE id = '" + str(sent) + "'")
    assert found == [(None, True)]


def test_the_mail_of_an_erased_person_lists_nobody(session: Session, sent: Any) -> None:
    change(session, "UPDATE email SET to_address = ''")
    assert effects(session, (sent, hard())) == ["noted"]
    assert rows(session, "SELECT 1 FROM suppression") == []


def told(session: Session) -> str:
    """Returns the text of the mail to the manager, or nothing when it is not sent."""
    change(session, "UPDATE email SET due_at = now() WHERE state = 'owed'")
    [letter] = [one for one in letters(session) if one.mail.kind is EmailKind.UNDELIVERABLE]
    return "" if letter.unsent else render(letter.kind, "fr", letter.context).text.replace("\u200c", "")


def test_one_mail_tells_the_manager_of_all_addresses_of_a_quarter(session: Session, sent: Any) -> None:
    enrol_people(session, someone("paul@example.com", "Paul"))
    change(session, "UPDATE email SET state = 'sent', due_at = NULL, finished_at = now() WHERE state = 'owed'")
    mails = fetch_values(session, type(sent), text("SELECT id FROM email ORDER BY id"))
    record_reports(session, [(mails[0], hard())])
    record_reports(session, [(mails[1], hard("paul@example.com"))])
    mail = told(session)
    assert ANNE in mail
    assert "paul@example.com" in mail
    assert "Corrigez l’adresse" in mail


def test_an_address_that_was_corrected_meanwhile_is_not_told(session: Session, sent: Any) -> None:
    record_reports(session, [(sent, hard())])
    change(session, "UPDATE account SET email_norm = 'anne.juste@example.com'")
    assert told(session) == ""


def test_without_a_manager_nobody_is_written_to(session: Session, sent: Any) -> None:
    change(session, "UPDATE contract SET manager_email = NULL")
    assert effects(session, (sent, hard())) == ["bounced"]
    assert rows(session, "SELECT 1 FROM email WHERE state = 'owed'") == []


def test_what_is_kept_of_a_report_fits_into_json(session: Session, sent: Any) -> None:
    nasty = RecipientReport((ANNE,), "failed", 550, "5.1.1", 'unknown user \\u0000 " \\ \u2028 é')
    assert effects(session, (sent, BounceReport(BounceKind.SOFT, (nasty,)))) == ["bounced"]
    assert rows(session, "SELECT error ->> 'message' FROM email WHERE kind = 'invitation'")
