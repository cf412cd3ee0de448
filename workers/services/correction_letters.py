"""Mails about the correction of an address: to confirm it, to tell the old one, to tell both that it was done.

They are written to an address, whoever has the account by now; the correction itself says whether they still hold.
"""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.correction import LISTENS_AGAIN, Ground, mask_address
from models.words import CorrectionState, EmailKind, Purpose
from workers.database import Session
from workers.ledger import Claimed
from workers.services.keys import signing_keys
from workers.services.letter import Letter, link_address, not_wanted, signature

# Silence counts by the same rule as in models/correction.py: not if the old address said no a short while before.
CORRECTION = text(f"""
    SELECT c.id, c.state, c.old_email, c.new_email, company.name AS company_name, a.first_name,
      l.id AS link_id, l.purpose, l.key_id, l.version, l.account_id, l.expires_at,
      NOT EXISTS (
        SELECT 1 FROM email_correction r WHERE r.account_id = c.account_id AND r.id <> c.id
          AND r.state = '{CorrectionState.CANCELLED}' AND r.ground = '{Ground.REFUSAL}'
          AND r.ended_at > c.asked_at - CAST(:listens_again AS interval)) AS silence_counts
    FROM email_correction c JOIN account a ON a.id = c.account_id
    LEFT JOIN company ON company.id = c.company_id
    LEFT JOIN link l ON l.account_id = c.account_id AND l.subject_id = c.id AND l.purpose = :purpose
      AND l.consumed_at IS NULL AND l.voided_at IS NULL AND l.expires_at > now()
    WHERE c.id = :id""")

# The key of the link was withdrawn before its mail was sent: the same link, another token.
SIGN_ANEW = text("""
    UPDATE link SET key_id = :newest WHERE id = :id AND consumed_at IS NULL AND voided_at IS NULL""")

_PURPOSE: Final = {
    EmailKind.CORRECTION_CONFIRMATION: Purpose.CORRECTION_CONFIRMATION,
    EmailKind.CORRECTION_NOTICE: Purpose.CORRECTION_ANSWER,
}


def write_correction(session: Session, row: Claimed, _: Any) -> Letter:
    """A mail about a correction; none that asks for an answer nobody waits for any more."""
    kind, context = EmailKind(row.columns["kind"]), row.columns["context"]
    correction = _read(session, context["correction"], kind)
    if correction is None:
        return not_wanted(row)
    if kind is EmailKind.CORRECTION_APPLIED:
        return Letter(row, kind, _applied(correction, to_new=context["to_new"]))
    if context.get("done"):
        return Letter(row, kind, _notice(correction, None))
    if correction.state != CorrectionState.PENDING or correction.link_id is None:
        return not_wanted(row)
    write = _notice if kind is EmailKind.CORRECTION_NOTICE else _confirmation
    return Letter(row, kind, write(correction, link_address(correction)))


def _read(session: Session, correction_id: str, kind: EmailKind) -> Any:
    """The correction with its link, which is signed with a key that still counts."""
    keys = signing_keys()
    parameters = {"id": UUID(correction_id), "purpose": _PURPOSE.get(kind, ""), "listens_again": LISTENS_AGAIN}
    correction = session.execute(CORRECTION, parameters).one_or_none()
    if correction is None or correction.link_id is None or keys.secret(correction.key_id) is not None:
        return correction
    session.execute(SIGN_ANEW, {"id": correction.link_id, "newest": keys.newest})
    return session.execute(CORRECTION, parameters).one_or_none()


def _confirmation(correction: Any, link: str) -> dict[str, Any]:
    """No name: nobody knows yet whose mailbox this is."""
    return _facts(correction) | {"new_address": correction.new_email, "link": link, "expires_at": correction.expires_at}


def _notice(correction: Any, link: str | None) -> dict[str, Any]:
    """Without a link the mailbox may be a stranger's: it is told neither a name nor anything of the new address."""
    if link is None:
        return _facts(correction) | {"link": None}
    return _facts(correction) | {
        "first_name": correction.first_name,
        "new_address": mask_address(correction.new_email),
        "link": link,
        "expires_at": correction.expires_at,
        "silence_counts": correction.silence_counts,
    }


def _applied(correction: Any, *, to_new: bool) -> dict[str, Any]:
    shown = correction.new_email if to_new else mask_address(correction.new_email)
    return _facts(correction) | {"first_name": correction.first_name, "new_address": shown, "to_new": to_new}


def _facts(correction: Any) -> dict[str, Any]:
    return {"company_name": correction.company_name} | signature()
