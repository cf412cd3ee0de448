"""Mails about the correction of an address: to confirm it, to tell the old one, to tell both that it was done, or
why it was not.

They are written to an address, whoever has the account by now; the correction itself says whether they still hold.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.correction import LISTENS_AGAIN, SILENCE, CorrectionGround, ending_of, mask_address
from models.mails import MAILS
from models.words import CorrectionState, EmailKind
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.mail.letters.letter import (
    Letter,
    link_address,
    not_wanted,
    signature,
)
from workers.security.keys import signing_keys

# Silence counts by the same rule as in models/correction.py: not if the old address said no a short while before.
READ_CORRECTION = text(f"""
    SELECT c.id, c.state, c.ground, c.old_email, c.new_email, c.confirmed_at IS NOT NULL AS confirmed,
      company.name AS company_name, a.first_name, k.reference AS contract_reference, training.title AS training_title,
      l.id AS link_id, l.purpose, l.key_id, l.version, l.account_id, l.expires_at,
      NOT EXISTS (
        SELECT 1 FROM email_correction r WHERE r.account_id = c.account_id AND r.id <> c.id
          AND r.state = '{CorrectionState.CANCELLED}' AND r.ground = '{CorrectionGround.REFUSAL}'
          AND r.ended_at > c.asked_at - CAST(:listens_again AS interval)) AS silence_counts
    FROM email_correction c JOIN account a ON a.id = c.account_id
    LEFT JOIN company ON company.id = c.company_id
    LEFT JOIN enrollment n ON n.id = c.enrollment_id
    LEFT JOIN contract k ON k.id = n.contract_id
    LEFT JOIN training ON training.id = k.training_id
    LEFT JOIN link l ON l.account_id = c.account_id AND l.subject_id = c.id AND l.purpose = :purpose
      AND l.consumed_at IS NULL AND l.voided_at IS NULL AND l.expires_at > now()
    WHERE c.id = :id""")

# The key of the link was withdrawn before its mail was sent: the same link, another token.
SIGN_LINK_ANEW = text("""
    UPDATE link SET key_id = :newest WHERE id = :id AND consumed_at IS NULL AND voided_at IS NULL""")


def write_correction(session: Session, row: ClaimedRow, fact: Any) -> Letter:
    """A mail about a correction; none that asks for an answer nobody waits for any more."""
    kind, context = EmailKind(row.columns["kind"]), row.columns["context"]
    correction = _read(session, context["correction"], kind)
    if correction is None:
        return not_wanted(row)
    if kind is EmailKind.CORRECTION_APPLIED:
        return Letter(row, kind, _applied(correction, to_new=context["to_new"]))
    if kind is EmailKind.CORRECTION_ENDED:
        return _ended(row, correction)
    if context.get("done"):
        return Letter(row, kind, _replaced(correction))
    if correction.state != CorrectionState.PENDING or correction.link_id is None:
        return not_wanted(row)
    link = link_address(correction)
    notice = kind is EmailKind.CORRECTION_NOTICE
    return Letter(row, kind, _notice(correction, link, fact.now) if notice else _confirmation(correction, link))


def _read(session: Session, correction_id: str, kind: EmailKind) -> Any:
    """The correction with its link, which is signed with a key that still counts."""
    keys = signing_keys()
    parameters = {"id": UUID(correction_id), "purpose": MAILS[kind].link or "", "listens_again": LISTENS_AGAIN}
    correction = session.execute(READ_CORRECTION, parameters).one_or_none()
    if correction is None or correction.link_id is None or keys.secret(correction.key_id) is not None:
        return correction
    session.execute(SIGN_LINK_ANEW, {"id": correction.link_id, "newest": keys.newest})
    return session.execute(READ_CORRECTION, parameters).one_or_none()


def _confirmation(correction: Any, link: str) -> dict[str, Any]:
    """No name: nobody knows yet whose mailbox this is."""
    return _facts(correction) | {"new_address": correction.new_email, "link": link, "expires_at": correction.expires_at}


def _replaced(correction: Any) -> dict[str, Any]:
    """The mailbox may be a stranger's: it is told neither a name nor anything of the new address."""
    return _facts(correction) | {"link": None}


def _notice(correction: Any, link: str, now: datetime) -> dict[str, Any]:
    """Silence counts from when it leaves: the moment it names is never after the one that counts."""
    return _facts(correction) | {
        "first_name": correction.first_name,
        "new_address": mask_address(correction.new_email),
        "link": link,
        "answer_before": now + SILENCE if correction.silence_counts else correction.expires_at,
        "silence_counts": correction.silence_counts,
    }


def _applied(correction: Any, *, to_new: bool) -> dict[str, Any]:
    shown = correction.new_email if to_new else mask_address(correction.new_email)
    return _facts(correction) | {
        "first_name": correction.first_name,
        "new_address": shown,
        "to_new": to_new,
        "password_kept": correction.ground != CorrectionGround.OPS,
    }


def _ended(row: ClaimedRow, correction: Any) -> Letter:
    """No name: to the new address as in its confirmation, to the manager because it may be a stranger's."""
    ending = ending_of(correction.state, correction.ground, confirmed=correction.confirmed)
    if ending is None or not correction.new_email:  # emptied: the person was erased since
        return not_wanted(row)
    says = _facts(correction) | {"new_address": correction.new_email, "ending": ending}
    to_manager = row.columns["context"]["to_manager"]
    if to_manager:
        says |= {
            "old_address": correction.old_email,
            "contract_reference": correction.contract_reference,
            "training_title": correction.training_title,
        }
    return Letter(row, EmailKind.CORRECTION_ENDED, says | {"to_manager": to_manager})


def _facts(correction: Any) -> dict[str, Any]:
    return {"company_name": correction.company_name} | signature()


WRITERS: Final = {
    EmailKind.CORRECTION_CONFIRMATION: write_correction,
    EmailKind.CORRECTION_NOTICE: write_correction,
    EmailKind.CORRECTION_APPLIED: write_correction,
    EmailKind.CORRECTION_ENDED: write_correction,
}
