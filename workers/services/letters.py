"""What a claimed mail says: the facts as they stand when it is sent, and the link it carries.

The owed row holds identifiers only; names, titles and links are looked up here and forgotten after sending. A link that
ended before its mail was sent is replaced, so that no owed mail is a dead end. Lock order: the caller's mails, accounts
by address, links.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.link import PASSWORD_PURPOSES
from models.words import EmailKind, EmailState, Purpose
from workers.database import Session
from workers.ledger import Claimed
from workers.services.correction_letters import write_correction
from workers.services.keys import signing_keys
from workers.services.letter import Letter, not_wanted
from workers.services.links import replace_dead_links
from workers.services.report_letters import write_enrollment_report
from workers.services.training_letters import write_announcement, write_reset, write_withdrawal

# LIMIT 1, of which there is only one: else a planner that has not counted the links yet reads all of them each time.
FACTS = text("""
    SELECT e.id, e.account_id, l.purpose, a.first_name, a.activated_at IS NOT NULL AS activated,
      e.to_address <> a.email_norm AS moved,
      company.name AS company_name,
      training.title AS training_title, n.withdrawn_at IS NOT NULL AS withdrawn, l.id AS link_id, l.key_id, l.version,
      l.expires_at, l.expires_at <= now() AS link_expired,
      e.kind = :withdrawal AND EXISTS (
        SELECT 1 FROM enrollment again WHERE again.contract_id = e.contract_id AND again.account_id = e.account_id
          AND again.withdrawn_at IS NULL) AS enrolled_again
    FROM email e
    LEFT JOIN contract ON contract.id = e.contract_id
    LEFT JOIN company ON company.id = contract.company_id
    LEFT JOIN training ON training.id = contract.training_id
    LEFT JOIN account a ON a.id = e.account_id
    LEFT JOIN enrollment n ON n.id = e.enrollment_id
    LEFT JOIN LATERAL (
      SELECT * FROM link WHERE link.account_id = e.account_id AND link.consumed_at IS NULL AND link.voided_at IS NULL
        AND link.purpose = CASE e.kind WHEN 'password_reset' THEN 'password_reset' ELSE 'activation' END LIMIT 1
    ) l ON true
    WHERE e.id = ANY(CAST(:ids AS uuid[]))""")

LINKED: Final = frozenset({EmailKind.INVITATION, EmailKind.ATTACHMENT, EmailKind.REMINDER, EmailKind.RELEASE_WARNING,
                           EmailKind.PASSWORD_RESET})  # fmt: skip
"""Mails that carry a link to the choice of a password."""

TO_THE_ACCOUNT: Final = LINKED | {EmailKind.WITHDRAWAL, EmailKind.RELEASE}
"""Mails for whoever has the account. One a mailer held while the address was corrected goes to nobody: the correction
owes what the new address is to hear.
"""

Writer = Callable[[Session, Claimed, Any], Letter]
"""Makes the letter of a claimed mail from the facts it speaks of."""

WRITERS: Final[dict[EmailKind, Writer]] = {
    EmailKind.INVITATION: write_announcement,
    EmailKind.ATTACHMENT: write_announcement,
    EmailKind.PASSWORD_RESET: write_reset,
    EmailKind.WITHDRAWAL: write_withdrawal,
    EmailKind.ENROLLMENT_REPORT: write_enrollment_report,
    EmailKind.CORRECTION_CONFIRMATION: write_correction,
    EmailKind.CORRECTION_NOTICE: write_correction,
    EmailKind.CORRECTION_APPLIED: write_correction,
}
"""Who writes which kind of mail."""


def read_letters(session: Session, rows: Sequence[Claimed]) -> list[Letter]:
    """What each claimed mail says, in the order given; links that ended meanwhile are replaced."""
    facts = _read_facts(session, rows)
    ended = {
        (facts[row.id].account_id, facts[row.id].purpose)
        for row in rows
        if row.id in facts and _link_ended(row, facts[row.id])
    }
    if ended:
        for purpose in PASSWORD_PURPOSES:
            if accounts := {account for account, of in ended if of == purpose}:
                replace_dead_links(session, accounts, purpose)
        facts = _read_facts(session, rows)
    return [_letter(session, row, facts.get(row.id)) for row in rows]


def _read_facts(session: Session, rows: Sequence[Claimed]) -> dict[UUID, Any]:
    found = session.execute(FACTS, {"ids": [row.id for row in rows], "withdrawal": EmailKind.WITHDRAWAL})
    return {fact.id: fact for fact in found}


def _link_ended(row: Claimed, fact: Any) -> bool:
    """Whether this mail is to carry a link that time or the withdrawal of its key has ended."""
    if row.columns["expired"] or fact.withdrawn or fact.moved or fact.link_id is None:
        return False
    if row.columns["kind"] not in LINKED:
        return False
    if fact.activated and fact.purpose == Purpose.ACTIVATION:
        return False
    return fact.link_expired or signing_keys().secret(fact.key_id) is None


def _letter(session: Session, row: Claimed, fact: Any) -> Letter:
    if row.columns["expired"]:
        return not_wanted(row, EmailState.EXPIRED)
    if fact is None or (fact.moved and row.columns["kind"] in TO_THE_ACCOUNT):
        return not_wanted(row)
    return WRITERS[EmailKind(row.columns["kind"])](session, row, fact)
