"""The answer that the link of a name correction brings, and the sweep that ends corrections without an answer.

Each answer is one transaction that holds the account first, then the link. Of two answers at the same moment the first
to hold the account decides, and the other finds the link used.
"""

from typing import Final, NamedTuple

from sqlalchemy import text

from models.name_correction import NameGround
from models.names import FullName
from models.words import Code, CorrectionState, Purpose
from workers.corrections.facts import lock_accounts
from workers.corrections.name_rows import (
    NewNameCorrection,
    PendingNameCorrection,
    RenamedAccount,
    end_pending_name,
    read_all_pending,
    read_pending,
    rename,
    tell_person,
)
from workers.database import Session
from workers.security.link_views import LinkView, consume_link, hold_link, look_at_link
from workers.security.tokens import SigningKeys
from workers.sql import fetch_one

MOST_AT_ONCE: Final = 200
"""Corrections that one sweep ends: it holds their accounts. The next sweep, five minutes later, ends others."""

# The facts of a page; there is no page once the correction is over.
READ_PAGE = text("""
    SELECT nc.new_first_name AS first_name, nc.new_last_name AS last_name, co.name AS company_name
    FROM name_correction nc JOIN company co ON co.id = nc.company_id
    WHERE nc.id = :id AND nc.account_id = :account AND nc.state = 'pending'""")

# The account, which the caller holds.
READ_ACCOUNT = text("""
    SELECT a.id AS account_id, a.email_norm AS email, a.locale, a.activated_at IS NOT NULL AS activated,
      a.first_name, a.last_name
    FROM account a WHERE a.id = :account""")


class NamePage(NamedTuple):
    """The facts that the page of a pending correction shows: the corrected name and the company that asked for it."""

    first_name: str
    last_name: str
    company_name: str


def look_at_name(session: Session, view: LinkView) -> NamePage | None:
    """Returns the pending correction that a link is about; None once it is over. Nothing is changed."""
    return fetch_one(session, NamePage, READ_PAGE, {"id": view.subject_id, "account": view.account_id})


def confirm_name(session: Session, keys: SigningKeys, token: str) -> PendingNameCorrection | Code:
    """The person confirms: the account has the new name from now on, and they are told once more."""
    held = _hold(session, keys, token)
    if isinstance(held, Code):
        return held
    account = fetch_one(session, RenamedAccount, READ_ACCOUNT, {"account": held.account_id})
    name = FullName(held.new_first_name, held.new_last_name)
    rename(session, held.account_id, name, portal_id=held.portal_id, job_id=held.job_id)
    end_pending_name(session, held, CorrectionState.APPLIED, NameGround.CONFIRMED)
    if account is not None:
        tell_person(session, account, _as_asked(held), held.id)
    return held


def refuse_name(session: Session, keys: SigningKeys, token: str) -> PendingNameCorrection | Code:
    """The person says that the name is not theirs: the account keeps its name, and the manager is told."""
    held = _hold(session, keys, token)
    if not isinstance(held, Code):
        end_pending_name(session, held, CorrectionState.CANCELLED, NameGround.REFUSAL)
    return held


def _hold(session: Session, keys: SigningKeys, token: str) -> PendingNameCorrection | Code:
    """Locks the account, then the link, and uses the link up; returns the correction that it is about.

    A link with another purpose is invalid here.
    """
    seen = look_at_link(session, keys, token)
    if isinstance(seen, Code):
        return seen
    if seen.purpose is not Purpose.NAME_CONFIRMATION:
        return Code.INVALID_LINK
    lock_accounts(session, [seen.account_id])
    view = hold_link(session, keys, token)
    if isinstance(view, Code):
        return view
    waiting = read_pending(session, view.account_id)
    if waiting is None or waiting.id != view.subject_id:
        return Code.INVALID_LINK
    consume_link(session, view.link_id)
    return waiting


def _as_asked(held: PendingNameCorrection) -> NewNameCorrection:
    return NewNameCorrection(*[getattr(held, name) for name in NewNameCorrection._fields])


def end_unconfirmed_names(session: Session) -> int:
    """Ends the corrections of names that can no longer be confirmed; returns how many.

    Their time is over, or their link was voided because the account got another address. An account that another
    transaction holds has its turn with the next sweep.
    """
    over = [one.account_id for one in read_all_pending(session) if not one.open][:MOST_AT_ONCE]
    held = lock_accounts(session, over, waiting=False) if over else set()
    ended = 0
    for account_id in (one for one in over if one in held):
        waiting = read_pending(session, account_id)
        if waiting is not None and not waiting.open:
            state, ground = _ending(waiting)
            end_pending_name(session, waiting, state, ground)
            ended += 1
    return ended


def _ending(waiting: PendingNameCorrection) -> tuple[CorrectionState, NameGround | None]:
    if waiting.expired:
        return CorrectionState.EXPIRED, None
    return CorrectionState.CANCELLED, NameGround.LINKS_VOIDED
