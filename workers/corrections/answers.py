"""The answers that the two links of a correction bring: the new address confirms, the old one agrees or says no.

Each is one transaction that holds the account first, then the link. When an answer and the sweep arrive at the same
moment, the first to hold the account decides, and the other finds it decided.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.correction import CorrectionGround, CorrectionVerdict
from models.words import Code, CorrectionState, Purpose
from workers.audit import record
from workers.corrections.changes import AccountMoves
from workers.corrections.facts import PendingCorrection, lock_accounts, read_waiting
from workers.corrections.rows import end_pending
from workers.corrections.verdicts import settle
from workers.database import Session
from workers.security.link_views import (
    LinkUse,
    LinkView,
    consume_link,
    hold_link,
    look_at_link,
)
from workers.security.tokens import SigningKeys
from workers.sql import fetch_one

# The facts of a page; there is no page once the correction is over.
READ_CORRECTION = text("""
    SELECT ec.new_email, co.name AS company_name
    FROM email_correction ec JOIN company co ON co.id = ec.company_id
    WHERE ec.id = :id AND ec.account_id = :account AND ec.state = 'pending'""")

# The state of a correction, also when it is over: its links still show a page.
READ_VERDICT = text("""
    SELECT ec.state, ec.ground FROM email_correction ec WHERE ec.id = :id AND ec.account_id = :account""")

# The new address confirms, with the password of the account or without.
CONFIRM_CORRECTION = text("""
    UPDATE email_correction SET confirmed_at = now(),
      password_given_at = CASE WHEN :password_given THEN now() END
    WHERE id = :id AND state = 'pending'""")

# The old address agrees.
AGREE_TO_CORRECTION = text("UPDATE email_correction SET agreed_at = now() WHERE id = :id AND state = 'pending'")

REFUSED: Final = CorrectionVerdict(CorrectionState.CANCELLED, CorrectionGround.REFUSAL)


class CorrectionPage(NamedTuple):
    """The facts that the pages of a pending correction show. Every correction that waits was asked for by a company."""

    new_email: str
    company_name: str


@dataclass(frozen=True, slots=True)
class CorrectionAnswer:
    """The verdict after an answer; `waiting` is the correction as it stood when it was judged."""

    verdict: CorrectionVerdict
    waiting: PendingCorrection


class _StoredVerdict(NamedTuple):
    state: str
    ground: str | None


def look_at_correction(session: Session, view: LinkView) -> CorrectionPage | None:
    """Returns the pending correction that a link is about; None once it is over. Nothing is changed."""
    return fetch_one(session, CorrectionPage, READ_CORRECTION, _correction(view.subject_id, view.account_id))


def confirm_address(
    session: Session, keys: SigningKeys, token: str, *, password_given: bool
) -> CorrectionAnswer | Code:
    """The new address confirms: the reader of its mail wants the account to have it.

    Parameters:
      password_given: whether the account's own password was given with the answer and was right.
    """
    held = _hold(session, keys, token, Purpose.CORRECTION_CONFIRMATION)
    if isinstance(held, Code):
        return held
    session.execute(CONFIRM_CORRECTION, {"id": held.id, "password_given": password_given})
    _record(session, held, "confirm_correction", {"password_given": password_given})
    return _judge(session, held)


def agree_to_correction(session: Session, keys: SigningKeys, token: str) -> CorrectionAnswer | Code:
    """The old address agrees. Nothing is applied before the new one has confirmed."""
    held = _hold(session, keys, token, Purpose.CORRECTION_ANSWER)
    if isinstance(held, Code):
        return held
    session.execute(AGREE_TO_CORRECTION, {"id": held.id})
    _record(session, held, "agree_to_correction", None)
    return _judge(session, held)


def refuse_correction(session: Session, keys: SigningKeys, token: str) -> CorrectionAnswer | Code:
    """The old address says no: the account keeps it, and for a while its silence does not count as agreement."""
    held = _hold(session, keys, token, Purpose.CORRECTION_ANSWER)
    if isinstance(held, Code):
        return held
    end_pending(session, held, REFUSED)
    return CorrectionAnswer(REFUSED, held)


def read_verdict(session: Session, use: LinkUse) -> CorrectionVerdict | None:
    """Returns the verdict, so far, on the correction that a link was used for; None when it is not known any more."""
    row = fetch_one(session, _StoredVerdict, READ_VERDICT, _correction(use.subject_id, use.account_id))
    if row is None:
        return None
    return CorrectionVerdict(CorrectionState(row.state), CorrectionGround(row.ground) if row.ground else None)


def _correction(correction_id: UUID | None, account_id: UUID) -> dict[str, UUID | None]:
    return {"id": correction_id, "account": account_id}


def _hold(session: Session, keys: SigningKeys, token: str, purpose: Purpose) -> PendingCorrection | Code:
    """Locks the account, then the link, and uses the link up; returns the correction that it is about.

    A link with another purpose is invalid here.
    """
    seen = look_at_link(session, keys, token)
    if isinstance(seen, Code):
        return seen
    if seen.purpose is not purpose:
        return Code.INVALID_LINK
    lock_accounts(session, [seen.account_id])
    view = hold_link(session, keys, token)
    if isinstance(view, Code):
        return view
    waiting = read_waiting(session, view.account_id)
    if waiting is None or waiting.id != view.subject_id:
        return Code.INVALID_LINK
    consume_link(session, view.link_id)
    return waiting


def _judge(session: Session, held: PendingCorrection) -> CorrectionAnswer | Code:
    waiting = read_waiting(session, held.account_id)  # once more: the answer is among its facts now
    if waiting is None:
        return Code.INVALID_LINK
    with AccountMoves(session) as moves:
        verdict = settle(session, waiting, moves)
    return CorrectionAnswer(verdict, waiting)


def _record(session: Session, held: PendingCorrection, action: str, detail: dict[str, bool] | None) -> None:
    record(
        session,
        action,
        portal_id=held.portal_id,
        company_id=held.company_id,
        account_id=held.account_id,
        subject_id=held.id,
        job_id=held.job_id,
        detail=detail,
    )
