"""What the two links of a correction do: the new address confirms, the old one agrees or says no.

Each is one transaction that holds the account first, then the link. Of an answer and the sweep at the same moment the
first to hold the account decides, and the other finds it decided.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from models.correction import CorrectionGround, CorrectionVerdict
from models.words import Code, CorrectionState, Purpose
from workers.audit import record
from workers.corrections.changes import AccountMoves
from workers.corrections.facts import PendingCorrection, lock_accounts, read_waiting
from workers.corrections.rows import end
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

READ_CORRECTION = text("""
    SELECT c.new_email, company.name AS company_name
    FROM email_correction c JOIN company ON company.id = c.company_id
    WHERE c.id = :id AND c.account_id = :account AND c.state = 'pending'""")

READ_VERDICT = text("SELECT state, ground FROM email_correction WHERE id = :id AND account_id = :account")

CONFIRM_CORRECTION = text("""
    UPDATE email_correction SET confirmed_at = now(),
      password_given_at = CASE WHEN :password_given THEN now() END
    WHERE id = :id AND state = 'pending'""")

AGREE_TO_CORRECTION = text("UPDATE email_correction SET agreed_at = now() WHERE id = :id AND state = 'pending'")

REFUSED: Final = CorrectionVerdict(CorrectionState.CANCELLED, CorrectionGround.REFUSAL)


@dataclass(frozen=True, slots=True)
class CorrectionPage:
    """What the pages of a pending correction show: none waits that no company asked for."""

    new_email: str
    company_name: str


@dataclass(frozen=True, slots=True)
class CorrectionAnswer:
    """What came of an answer. `waiting` is the correction as it stood when it was judged."""

    verdict: CorrectionVerdict
    waiting: PendingCorrection


def look_at_correction(session: Session, view: LinkView) -> CorrectionPage | None:
    """The pending correction a link speaks of; None once it is over. Changes nothing."""
    row = session.execute(READ_CORRECTION, {"id": view.subject_id, "account": view.account_id}).one_or_none()
    return None if row is None else CorrectionPage(row.new_email, row.company_name)


def confirm_address(
    session: Session, keys: SigningKeys, token: str, *, password_given: bool
) -> CorrectionAnswer | Code:
    """The new address confirms: whoever reads its mail wants the account to have it.

    Parameters:
      password_given: whether the account's own password was given with it and was right.
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
    """The old address says no: nothing changes, and for a while its silence counts for nothing."""
    held = _hold(session, keys, token, Purpose.CORRECTION_ANSWER)
    if isinstance(held, Code):
        return held
    end(session, held, REFUSED)
    return CorrectionAnswer(REFUSED, held)


def read_verdict(session: Session, use: LinkUse) -> CorrectionVerdict | None:
    """What became so far of the correction a link was used for; None when nothing is known of it any more."""
    row = session.execute(READ_VERDICT, {"id": use.subject_id, "account": use.account_id}).one_or_none()
    return (
        None
        if row is None
        else CorrectionVerdict(CorrectionState(row.state), row.ground and CorrectionGround(row.ground))
    )


def _hold(session: Session, keys: SigningKeys, token: str, purpose: Purpose) -> PendingCorrection | Code:
    """Holds the account, then the link, and uses it up; the correction it speaks of. A link for anything else is none
    here.
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
    waiting = read_waiting(session, held.account_id)  # once more: something was said for it
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
