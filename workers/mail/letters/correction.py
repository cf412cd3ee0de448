"""Writes mails about the correction of an address: to confirm it, to ask the old address, and to tell how it ended.

They are written to an address, whatever account has it by now; the correction itself decides whether they still apply.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.account import GREETED
from models.correction import LISTENS_AGAIN, SILENCE, CorrectionGround, ending_of, mask_address
from models.words import CorrectionState, EmailKind
from workers.database import Session
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.facts import MailedLink, MailFacts
from workers.mail.letters.letter import Letter, not_wanted, signature
from workers.security.keys import signing_keys
from workers.security.links import LIVE
from workers.sql import fetch_one, joined

# Reads a correction with the link of one purpose that still lives; it locks nothing. Silence counts by the rule of
# models/correction.py: not if the old address said no a short while before.
READ_CORRECTION = text(f"""
    SELECT ec.state, ec.ground, ec.old_email, ec.new_email, ec.confirmed_at IS NOT NULL AS confirmed,
      co.name AS company_name, {GREETED} AS first_name, c.reference AS contract_reference, tr.title AS training_title,
      NOT EXISTS (
        SELECT 1 FROM email_correction refused
        WHERE refused.account_id = ec.account_id AND refused.id <> ec.id
          AND refused.state = '{CorrectionState.CANCELLED}' AND refused.ground = '{CorrectionGround.REFUSAL}'
          AND refused.ended_at > ec.asked_at - CAST(:listens_again AS interval)) AS silence_counts,
      l.id AS link_id, l.account_id, l.purpose, l.key_id, l.version, l.expires_at
    FROM email_correction ec JOIN account a ON a.id = ec.account_id
    LEFT JOIN company co ON co.id = ec.company_id
    LEFT JOIN enrollment e ON e.id = ec.enrollment_id
    LEFT JOIN contract c ON c.id = e.contract_id
    LEFT JOIN training tr ON tr.id = c.training_id
    LEFT JOIN link l ON l.account_id = ec.account_id AND l.subject_id = ec.id AND l.purpose = :purpose
      AND {LIVE} AND l.expires_at > now()
    WHERE ec.id = :id""")

# Signs a link with the newest key, when its own key was withdrawn before its mail was sent: the same link, another
# token.
SIGN_LINK_ANEW = text(f"""
    UPDATE link l SET key_id = :newest WHERE l.id = :id AND {LIVE}""")


class MailedCorrection(NamedTuple):
    """The facts of a correction that its mails state."""

    state: str
    ground: str | None
    old_email: str
    new_email: str
    confirmed: bool
    company_name: str | None
    first_name: str
    contract_reference: str | None
    training_title: str | None
    silence_counts: bool
    link_id: UUID | None
    account_id: UUID | None
    purpose: str | None
    key_id: str | None
    version: int | None
    expires_at: datetime | None

    @property
    def link(self) -> MailedLink | None:
        """The link by which the person answers."""
        link = (self.link_id, self.account_id, self.purpose, self.key_id, self.version, self.expires_at)
        return joined(MailedLink, *link, False)


def write_correction(session: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes a mail about a correction, unless it asks for an answer that is not awaited any more."""
    correction = _read(session, mail)
    if correction is None:
        return not_wanted(mail)
    if mail.kind is EmailKind.CORRECTION_APPLIED:
        return Letter(mail, mail.kind, _applied(correction, to_new=mail.context["to_new"]))
    if mail.kind is EmailKind.CORRECTION_ENDED:
        return _ended(mail, correction)
    if mail.context.get("done"):
        return Letter(mail, mail.kind, _replaced(correction))
    link = correction.link
    if correction.state != CorrectionState.PENDING or link is None:
        return not_wanted(mail)
    notice = mail.kind is EmailKind.CORRECTION_NOTICE
    return Letter(mail, mail.kind, _notice(correction, link, facts.now) if notice else _confirmation(correction, link))


def _read(session: Session, mail: ClaimedMail) -> MailedCorrection | None:
    """Reads the correction with its link, which is then signed with a key that is still valid."""
    keys = signing_keys()
    parameters = {
        "id": UUID(mail.context["correction"]),
        "purpose": mail.spec.link or "",
        "listens_again": LISTENS_AGAIN,
    }
    correction = fetch_one(session, MailedCorrection, READ_CORRECTION, parameters)
    link = correction.link if correction else None
    if link is None or keys.secret(link.key_id) is not None:
        return correction
    session.execute(SIGN_LINK_ANEW, {"id": link.id, "newest": keys.newest})
    return fetch_one(session, MailedCorrection, READ_CORRECTION, parameters)


def _confirmation(correction: MailedCorrection, link: MailedLink) -> dict[str, Any]:
    """Gives no name: the mailbox may be a stranger's."""
    return _values(correction) | {
        "new_address": correction.new_email,
        "link": link.address,
        "expires_at": link.expires_at,
    }


def _replaced(correction: MailedCorrection) -> dict[str, Any]:
    """Gives neither a name nor the new address: the mailbox may be a stranger's."""
    return _values(correction) | {"link": None}


def _notice(correction: MailedCorrection, link: MailedLink, now: datetime) -> dict[str, Any]:
    """Names the moment until which silence means agreement; it counts from when the mail leaves."""
    return _values(correction) | {
        "first_name": correction.first_name,
        "new_address": mask_address(correction.new_email),
        "link": link.address,
        "answer_before": now + SILENCE if correction.silence_counts else link.expires_at,
        "silence_counts": correction.silence_counts,
    }


def _applied(correction: MailedCorrection, *, to_new: bool) -> dict[str, Any]:
    shown = correction.new_email if to_new else mask_address(correction.new_email)
    return _values(correction) | {
        "first_name": correction.first_name,
        "new_address": shown,
        "to_new": to_new,
        "password_kept": correction.ground != CorrectionGround.OPS,
    }


def _ended(mail: ClaimedMail, correction: MailedCorrection) -> Letter:
    """Gives no name: the new address may be a stranger's, and the name of the account may be one to the manager."""
    ending = ending_of(correction.state, correction.ground, confirmed=correction.confirmed)
    if ending is None or not correction.new_email:  # emptied: the person was erased since
        return not_wanted(mail)
    says = _values(correction) | {"new_address": correction.new_email, "ending": ending}
    to_manager = mail.context["to_manager"]
    if to_manager:
        says |= {
            "old_address": correction.old_email,
            "contract_reference": correction.contract_reference,
            "training_title": correction.training_title,
        }
    return Letter(mail, EmailKind.CORRECTION_ENDED, says | {"to_manager": to_manager})


def _values(correction: MailedCorrection) -> dict[str, Any]:
    return {"company_name": correction.company_name} | signature()


WRITERS: Final = {
    EmailKind.CORRECTION_CONFIRMATION: write_correction,
    EmailKind.CORRECTION_NOTICE: write_correction,
    EmailKind.CORRECTION_APPLIED: write_correction,
    EmailKind.CORRECTION_ENDED: write_correction,
}
