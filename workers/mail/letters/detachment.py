"""The mail to a manager that tells that somebody they enrolled said "this is not me"."""

from typing import Any, Final

from sqlalchemy import text

from models.words import EmailKind
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.mail.letters.letter import (
    Letter,
    names,
    not_wanted,
    signature,
)
from workers.people.enrolling_requests import find_enrolling_row, read_enrolling_request
from workers.rosters.kept_rows import KeptRows

READ_DETACHED = text("""
    SELECT a.email_norm, c.reference, n.withdrawn_at IS NOT NULL AS seat_free
    FROM enrollment n JOIN account a ON a.id = n.account_id JOIN contract c ON c.id = n.contract_id
    WHERE n.id = :id AND n.detached_at IS NOT NULL AND a.erased_at IS NULL""")


def write_detachment(session: Session, row: ClaimedRow, fact: Any) -> Letter:
    """Who said so, by the names the manager gave: those of the account may be a stranger's, and stay unsaid."""
    who = session.execute(READ_DETACHED, {"id": fact.enrollment_id}).one_or_none()
    if who is None or fact.company_name is None:
        return not_wanted(row)
    given = read_enrolling_request(session, fact.enrollment_id)
    person = {"first_name": given.first_name, "last_name": given.last_name, "person_email": who.email_norm}
    contract = {"contract_reference": who.reference, "seat_free": who.seat_free}
    context = names(fact) | signature() | person | contract
    rows = find_enrolling_row(session, fact.enrollment_id)
    return Letter(row, EmailKind.DETACHMENT, context, rows=rows, from_rows=_names_in)


def _names_in(rows: KeptRows) -> dict[str, str]:
    return next(({"first_name": one.first_name, "last_name": one.last_name} for one in rows), {})


WRITERS: Final = {
    EmailKind.DETACHMENT: write_detachment,
}
