"""Letters from a plain look: written without a lock where nothing has to be recorded, and nowhere else."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.kit.builders.contracts import add_contract, enrol_people, query
from tests.kit.builders.letters import attach, change, claim
from workers.database import Session, transaction
from workers.engine.ledger import EMAILS, ClaimedRow, MailColumns
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import look_up_letters, write_letters
from workers.requests.queues import Queue


def mails(session: Session) -> list[ClaimedRow[MailColumns]]:
    return claim(session, EMAILS, Queue.EMAILS, Queue.EMAILS_BULK)


def contents(letters: Sequence[Letter] | None) -> list[object] | None:
    return None if letters is None else [(one.row, one.kind, one.context, one.unsent) for one in letters]


def invited(session: Session, *people: str) -> list[ClaimedRow[MailColumns]]:
    add_contract(session)
    enrol_people(session, *people)
    return mails(session)


def test_a_look_writes_the_same_letters_as_a_transaction(session: Session) -> None:
    rows = invited(session, "anne", "luc", "zoe")
    assert contents(look_up_letters(session, rows)) == contents(write_letters(session, rows))


def test_a_look_waits_for_no_lock_and_leaves_none(fresh_database: str) -> None:
    with transaction() as session:
        rows = invited(session, "anne", "luc")
    with transaction() as holder, transaction() as looker:
        query(holder, "SELECT 1 FROM email FOR UPDATE")
        query(holder, "SELECT 1 FROM account FOR UPDATE")
        change(looker, "SET LOCAL lock_timeout = '1ms'")
        found = look_up_letters(looker, rows)
        assert found is not None
        assert len(found) == 2
        assert query(looker, "SELECT pg_current_xact_id_if_assigned()") == [(None,)]


@pytest.mark.parametrize(
    "happened",
    [
        "UPDATE link SET expires_at = now()",
        "UPDATE enrollment SET withdrawn_at = now()",
        "UPDATE account SET erased_at = now()",
        "UPDATE account SET activated_at = now()",  # an attachment mail now, whose link has to be made
        "UPDATE account SET email_norm = 'other@example.com'",
        "INSERT INTO suppression (email_norm, reason) VALUES ('anne@example.com', 'hard_bounce')",
        "UPDATE email SET claim = claim + 1",
        "UPDATE email SET leased_until = NULL",
        "DELETE FROM email",
    ],
)
def test_what_has_to_be_recorded_is_left_to_a_transaction(session: Session, happened: str) -> None:
    rows = invited(session, "anne")
    assert look_up_letters(session, rows) is not None
    change(session, happened)
    assert look_up_letters(session, rows) is None


def test_an_expired_mail_is_left_to_a_transaction(session: Session) -> None:
    [row] = invited(session, "anne")
    late = replace(row, columns=row.columns._replace(expired=True))
    assert look_up_letters(session, [late]) is None


def test_an_attachment_mail_is_only_looked_at_once_its_link_is_made(session: Session) -> None:
    attach(session, activated=True)
    rows = mails(session)
    assert look_up_letters(session, rows) is None
    written = write_letters(session, rows)
    assert contents(look_up_letters(session, rows)) == contents(written)


def test_a_report_to_a_manager_is_left_to_a_transaction(session: Session) -> None:
    rows = invited(session, "anne")
    other = replace(rows[0], columns=rows[0].columns._replace(kind="enrollment_report"))
    assert look_up_letters(session, [*rows, other]) is None
