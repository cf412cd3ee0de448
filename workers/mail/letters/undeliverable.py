"""Writes to the manager of a contract which addresses of its participants do not exist, so that they are corrected."""

from typing import Final, NamedTuple

from sqlalchemy import text

from models.enrollment import PARTICIPATING
from models.words import EmailKind, EmailState
from workers.database import Session
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.facts import MailFacts
from workers.mail.letters.letter import Letter, names, not_wanted, signature
from workers.sql import fetch

SHOWN: Final = 100
"""The most addresses that one mail lists; the others are counted."""

# The addresses of a contract to which mails bounced in a time, but for those that were corrected since.
READ_ADDRESSES = text(f"""
    SELECT m.to_address AS email, count(*) OVER () AS total
    FROM email m JOIN enrollment e ON e.id = m.enrollment_id AND {PARTICIPATING}
    JOIN account a ON a.id = e.account_id AND a.email_norm = m.to_address AND a.erased_at IS NULL
    WHERE m.contract_id = :contract AND m.state = '{EmailState.BOUNCED}' AND m.state <> '{EmailState.SENT}'
      AND m.enrollment_id IS NOT NULL AND m.returned_at >= to_timestamp(:since) AND m.returned_at < to_timestamp(:until)
    GROUP BY m.to_address ORDER BY m.to_address LIMIT :shown""")


class _BouncedAddress(NamedTuple):
    email: str
    total: int


def write_undeliverable(session: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes which addresses are still to be corrected; no names, for those of an account may be a stranger's."""
    asked = {"contract": mail.contract_id, "shown": SHOWN, **mail.context}
    found = fetch(session, _BouncedAddress, READ_ADDRESSES, asked)
    if not found or facts.company_name is None:
        return not_wanted(mail)
    context = {
        **names(facts),
        **signature(),
        "contract_reference": facts.contract_reference,
        "addresses": [one.email for one in found],
        "total": found[0].total,
    }
    return Letter(mail, EmailKind.UNDELIVERABLE, context)


WRITERS: Final = {EmailKind.UNDELIVERABLE: write_undeliverable}
