"""When a correction is not made, the new address that had confirmed and the contract's manager are told."""

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import Purpose
from tests.kit.builders.accounts import PASSWORD, keys
from tests.kit.builders.contracts import did, query
from tests.kit.builders.corrections import (
    NEW,
    OLD,
    OTHER,
    account_id,
    agree,
    by_ops,
    confirm,
    correct,
    enrol_also,
    later,
    participant,
    refuse,
    sweep,
    token,
)
from tests.kit.builders.password_links import reset
from workers.access.passwords import choose_password, hash_password
from workers.database import Session
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.mail.renderer import render
from workers.requests.accounts import ErasePerson
from workers.requests.enrollment import Withdraw
from workers.requests.queues import Queue
from workers.security.link_views import LinkView

MANAGER = "chef@example.com"
OWED = "SELECT to_address FROM email WHERE kind = 'correction_ended' ORDER BY to_address"


def asked(session: Session, *, manager: str | None = MANAGER) -> UUID:
    """Creates a pending correction; returns the enrollment."""
    enrollment_id = participant(session)
    session.execute(text("UPDATE contract SET manager_email = :manager, manager_locale = 'en'"), {"manager": manager})
    correct(session, enrollment_id)
    return enrollment_id


def told(session: Session) -> dict[str, str]:
    """Sends the owed mails; returns their French text by address."""
    rows = ledger.claim(session, EMAILS, Queue.EMAILS, size=50, lease=30, worker=new_id())
    letters = [one for one in write_letters(session, rows) if one.kind == "correction_ended" and one.unsent is None]
    return {one.row.columns.to_address: said(one) for one in letters}


def said(letter: Letter, locale: str = "fr") -> str:
    mail = render(letter.kind, locale, letter.context)
    return f"{mail.subject}\n{mail.text}"


def passed(session: Session, _: UUID) -> None:
    later(session, days=15)
    assert sweep(session) == {"expired": 1}


def reset_used(session: Session, enrollment_id: UUID) -> None:
    did(session, reset(enrollment_id))
    chosen = choose_password(session, keys(), token(session, Purpose.PASSWORD_RESET), hash_password(PASSWORD))
    assert isinstance(chosen, LinkView)
    assert sweep(session) == {"cancelled": 1}


def shared(session: Session, _: UUID) -> None:
    enrol_also(session)
    assert sweep(session) == {"cancelled": 1}


def taken(session: Session, _: UUID) -> None:
    participant(session, NEW)
    assert sweep(session) == {"cancelled": 1}


def withdrawn(session: Session, enrollment_id: UUID) -> None:
    did(session, Withdraw(contract="C-1", enrollment_ids=[enrollment_id], notify=False))
    assert sweep(session) == {"cancelled": 1}


ENDINGS: dict[str, tuple[Callable[[Session, UUID], object], str]] = {
    "refused": (lambda session, _: refuse(session), "adresse actuelle a refusé ce changement"),
    "expired": (passed, "n’a pas accepté ce changement à temps"),
    "shared": (shared, "rattaché aussi à une autre entreprise"),
    "taken": (taken, "Un autre compte utilise désormais la nouvelle adresse"),
    "password": (reset_used, "Un nouveau mot de passe a été choisi"),
    "withdrawn": (withdrawn, "L’inscription a pris fin entre-temps"),
    "ops": (lambda session, _: by_ops(session, account_id(session), OTHER), "retirée, ou remplacée par une autre"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_people_who_wait_are_told_why_it_was_not_made(session: Session, ending: str) -> None:
    enrollment_id = asked(session)
    # Silence is no consent here: the notice is not sent.
    assert confirm(session) == "pending"
    end, why = ENDINGS[ending]
    end(session, enrollment_id)
    assert query(session, OWED) == [(NEW,), (MANAGER,)]
    found = told(session)
    assert found.keys() == {NEW, MANAGER}
    for mail in found.values():
        assert why in mail
        assert "Zoé" not in mail  # the account may belong to a stranger
    assert OLD not in found[NEW]
    assert OLD in found[MANAGER]
    assert NEW in found[MANAGER]


def test_an_address_that_never_confirmed_hears_nothing(session: Session) -> None:
    asked(session)
    passed(session, new_id())
    assert query(session, OWED) == [(MANAGER,)]
    assert "La nouvelle adresse n’a pas été confirmée à temps" in told(session)[MANAGER]


def test_without_a_manager_the_address_alone_hears_of_it(session: Session) -> None:
    asked(session, manager=None)
    confirm(session)
    refuse(session)
    assert query(session, OWED) == [(NEW,)]


def test_a_manager_who_took_it_back_knows_it(session: Session) -> None:
    enrollment_id = asked(session)
    confirm(session)
    assert correct(session, enrollment_id, OTHER)[0] == "confirmation_sent"
    assert query(session, OWED) == [(NEW,)]
    confirm(session)
    assert correct(session, enrollment_id, OLD)[0] == "unchanged"
    assert query(session, OWED) == [(NEW,), (OTHER,)]


def test_ops_who_do_at_once_what_was_pending_end_nothing(session: Session) -> None:
    asked(session)
    confirm(session)
    assert by_ops(session, account_id(session), NEW) == "corrected"
    assert query(session, OWED) == []


def test_one_that_is_made_is_not_said_to_have_ended(session: Session) -> None:
    asked(session)
    assert confirm(session, password_given=True) == "applied"
    assert query(session, OWED) == []


def test_an_erasure_cancels_the_mail_too(session: Session) -> None:
    asked(session)
    confirm(session)
    refuse(session)
    did(session, ErasePerson(email=OLD, reason="asked"))
    assert told(session) == {}


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "evil.com", "a\r\nBcc: evil@x.fr", "\u202emoc.live", "{{ 7 * 7 }} %(x)s"]
)
@pytest.mark.parametrize("new", ["=?utf-8?q?bcc=3a_x?=@example.org", "{{7*7}}'%s@example.org"])
def test_hostile_names_and_addresses_do_nothing(session: Session, name: str, new: str) -> None:
    enrollment_id = participant(session)
    for statement in (
        "UPDATE company SET name = :name",
        "UPDATE training SET title = :name",
        "UPDATE account SET first_name = :name",
    ):
        session.execute(text(statement), {"name": name})
    session.execute(text("UPDATE contract SET manager_email = :manager"), {"manager": MANAGER})
    correct(session, enrollment_id, new)
    confirm(session)
    refuse(session)
    rows = ledger.claim(session, EMAILS, Queue.EMAILS, size=50, lease=30, worker=new_id())
    ended = [one for one in write_letters(session, rows) if one.kind == "correction_ended"]
    assert len(ended) == 2
    for letter in ended:
        mail = render(letter.kind, "fr", letter.context)
        assert "<script" not in mail.html
        for hostile in ("evil.com", "\nBcc", "\u202e", "=?", "49 "):
            assert hostile not in mail.subject + mail.text + mail.html
        assert len(mail.subject.splitlines()) == 1


def test_the_audit_of_the_company_shows_the_answers_of_both_mailboxes(session: Session) -> None:
    asked(session)
    confirm(session)
    [(company, portal, job)] = query(session, "SELECT company_id, portal_id, job_id FROM email_correction")
    agree(session)
    heard = query(session, "SELECT action, company_id, portal_id, job_id FROM audit"
                           " WHERE action IN ('confirm_correction', 'agree_to_correction') ORDER BY id")  # fmt: skip
    assert heard == [(action, company, portal, job) for action in ("confirm_correction", "agree_to_correction")]
