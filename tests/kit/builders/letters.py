"""The tests of letters use these: the letters of all owed mails, and a person enrolled on a second contract."""

from sqlalchemy import text

from models.base import new_id
from tests.kit.builders.contracts import add_contract, enrol_people, someone
from workers.database import Session
from workers.engine import ledger
from workers.engine.ledger import EMAILS, ClaimedRow, ColumnsT, Ledger
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.requests.queues import Queue


def claim(session: Session, book: Ledger[ColumnsT], *queues: Queue) -> list[ClaimedRow[ColumnsT]]:
    """Claims the due rows of these queues."""
    claims = (ledger.claim(session, book, queue, size=200, lease=30, worker=new_id()) for queue in queues)
    return [row for rows in claims for row in rows]


def letters(session: Session) -> list[Letter]:
    """Reads the letters of all owed mails."""
    rows = claim(session, EMAILS, Queue.EMAILS, Queue.EMAILS_BULK)
    found = write_letters(session, rows)
    assert [letter.row for letter in found] == rows
    return found


def change(session: Session, statement: str) -> None:
    """Runs a statement in this session's transaction."""
    session.execute(text(statement))


def attach(session: Session, first_name: str = "Autre", *, activated: bool) -> None:
    """Enrolls a person on a second contract after the mails about the first one are gone."""
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, someone("anne@example.com", "Anne"))
    change(session, "DELETE FROM email")
    if activated:
        change(session, "UPDATE account SET activated_at = now()")
    enrol_people(session, someone("anne@example.com", first_name), contract="C-2")
