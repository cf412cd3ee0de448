"""What a claimed mail says: the facts as they stand when it is sent, and the link it carries.

The owed row holds identifiers only; names, titles and links are looked up here and forgotten after sending. A link that
ended before its mail was sent is replaced, so that no owed mail is a dead end; the link "this is not me" of an
attachment mail is made here. Lock order: the caller's mails, accounts by address, links.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.email import SuppressionReason
from models.link import PASSWORD_PURPOSES
from models.mails import ENDING, MAILS, for_every_kind, quoted
from models.words import EmailKind, EmailState, Purpose
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.mail.letters import (
    activation,
    correction,
    detachment,
    duplicate,
    enrollment_report,
    import_report,
    release_report,
    training,
)
from workers.mail.letters.letter import Letter, Writer, not_wanted
from workers.mail.letters.not_me_links import hold_accounts, lacks_link, offer_links
from workers.security.keys import signing_keys
from workers.security.links import replace_dead_links

_LINK_PURPOSE: Final = "CASE e.kind {} END".format(
    " ".join(f"WHEN '{kind}' THEN '{spec.link}'" for kind, spec in MAILS.items() if spec.chooses_password)
)
"""An SQL value: the purpose of the link to the choice of a password that a mail carries, NULL where it carries none."""

# LIMIT 1, of which there is only one: else a planner that has not counted the links yet reads all of them each time.
READ_FACTS = text(f"""
    SELECT e.id, e.account_id, l.purpose, a.first_name, a.activated_at IS NOT NULL AS activated,
      e.to_address <> a.email_norm AS moved,
      company.name AS company_name,
      training.title AS training_title, coalesce(n.withdrawn_at, n.detached_at) IS NOT NULL AS withdrawn,
      a.erased_at IS NOT NULL OR e.to_address = '' AS erased,
      l.id AS link_id, l.key_id, l.version, l.expires_at, l.expires_at <= now() AS link_expired,
      n.detached_at IS NOT NULL AS detached, n.progress,
      n.enrolled_at, n.release_warned_at, contract.reference AS contract_reference, contract.reminders,
      contract.release_after_days, now() AS now,
      e.enrollment_id, m.id AS not_me_id, m.key_id AS not_me_key, m.version AS not_me_version, m.live AS not_me_live,
      m.expired AS not_me_expired, s.reason AS suppressed,
      e.kind IN ({quoted(ENDING)}) AND EXISTS (
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
        AND link.purpose = {_LINK_PURPOSE} LIMIT 1
    ) l ON true
    LEFT JOIN LATERAL (
      SELECT id, key_id, version, consumed_at IS NULL AND voided_at IS NULL AS live, expires_at <= now() AS expired
      FROM link WHERE link.account_id = e.account_id AND link.subject_id = e.enrollment_id AND link.purpose = 'not_me'
        AND (e.kind = 'attachment' OR (e.kind = 'invitation' AND a.activated_at IS NOT NULL))
      ORDER BY live DESC LIMIT 1
    ) m ON true
    LEFT JOIN LATERAL (
      SELECT reason FROM suppression WHERE suppression.email_norm = e.to_address
        AND (suppression.until IS NULL OR suppression.until > now()) LIMIT 1
    ) s ON true
    WHERE e.id = ANY(CAST(:ids AS uuid[]))""")

WRITERS: Final[Mapping[EmailKind, Writer]] = for_every_kind(
    {
        **activation.WRITERS,
        **correction.WRITERS,
        **detachment.WRITERS,
        **duplicate.WRITERS,
        **enrollment_report.WRITERS,
        **import_report.WRITERS,
        **release_report.WRITERS,
        **training.WRITERS,
    },
    "functions that write them (workers/mail/letters)",
)
"""The function that writes each kind of mail, registered beside its letter."""


def read_letters(session: Session, rows: Sequence[ClaimedRow]) -> list[Letter]:
    """What each claimed mail says, in the order given; links that ended meanwhile are replaced."""
    facts = _read_facts(session, rows)
    ended = {
        (facts[row.id].account_id, facts[row.id].purpose)
        for row in rows
        if row.id in facts and _link_ended(row, facts[row.id])
    }
    if ended:
        attached = {facts[row.id].account_id for row in _without_not_me(rows, facts)}
        if attached:  # all accounts at once, in their order: they are also held one purpose after the other below
            hold_accounts(session, attached | {account for account, _ in ended})
        for purpose in PASSWORD_PURPOSES:
            if accounts := {account for account, of in ended if of == purpose}:
                replace_dead_links(session, accounts, purpose)
        facts = _read_facts(session, rows)
    if attachments := _without_not_me(rows, facts):
        _offer_not_me(session, [facts[row.id] for row in attachments])
        facts |= _read_facts(session, attachments)  # of the others nothing was missing when they were looked at
    return [_letter(session, row, facts.get(row.id)) for row in rows]


def _without_not_me(rows: Sequence[ClaimedRow], facts: Mapping[UUID, Any]) -> list[ClaimedRow]:
    return [row for row in rows if row.id in facts and lacks_link(row, facts[row.id])]


def _offer_not_me(session: Session, facts: Sequence[Any]) -> None:
    enrollments = {fact.enrollment_id: fact.account_id for fact in facts}
    offer_links(session, enrollments, known={fact.enrollment_id for fact in facts if fact.not_me_id})


def _read_facts(session: Session, rows: Sequence[ClaimedRow]) -> dict[UUID, Any]:
    found = session.execute(READ_FACTS, {"ids": [row.id for row in rows]})
    return {fact.id: fact for fact in found}


def _link_ended(row: ClaimedRow, fact: Any) -> bool:
    """Whether this mail is to carry a link that time or the withdrawal of its key has ended."""
    if row.columns["expired"] or fact.suppressed or fact.withdrawn or fact.erased or fact.moved or fact.link_id is None:
        return False
    if not MAILS[EmailKind(row.columns["kind"])].chooses_password:
        return False
    if fact.activated and fact.purpose == Purpose.ACTIVATION:
        return False
    return fact.link_expired or signing_keys().secret(fact.key_id) is None


def _letter(session: Session, row: ClaimedRow, fact: Any) -> Letter:
    if row.columns["expired"]:
        return not_wanted(row, EmailState.EXPIRED)
    if fact is None or fact.erased:  # erased while a mailer held it; nothing tells any more whom it was for
        return not_wanted(row)
    if fact.moved and MAILS[EmailKind(row.columns["kind"])].follows_account:
        return not_wanted(row)
    if fact.suppressed and not _written_all_the_same(row, fact):
        return not_wanted(row, EmailState.SUPPRESSED)
    return WRITERS[EmailKind(row.columns["kind"])](session, row, fact)


def _written_all_the_same(row: ClaimedRow, fact: Any) -> bool:
    """Whoever may lose their account is asked even where a mail bounced a while ago: only an answer of today says that
    their mailbox is no more. What ops listed stays unwritten to, and its silence counts for nothing.
    """
    asks = MAILS[EmailKind(row.columns["kind"])].despite_bounce and not (row.columns["context"] or {}).get("done")
    return asks and fact.suppressed == SuppressionReason.HARD_BOUNCE
