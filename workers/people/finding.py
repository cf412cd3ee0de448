"""Finding the person a request speaks of by address, and whose business they are."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from models.account import Account
from models.portal import LOCAL_PORTAL_ID
from models.words import Code
from workers.database import Session
from workers.sql import fetch

# Somebody who said "this is not me" is no longer that company's. For others an enrollment counts for ever: else whoever
# enrolls somebody once destroys all another portal has of them, history and certificates, once that one withdrew them.
READ_OWNERSHIP = text("""
    SELECT coalesce(bool_or(c.portal_id = :portal AND e.detached_at IS NULL), false) AS own,
      coalesce(bool_or(c.portal_id <> :portal), false) AS of_others
    FROM enrollment e JOIN contract c ON c.id = e.contract_id WHERE e.account_id = :account""")


class AccountOwnership(NamedTuple):
    """Whose an account is, as one portal sees it.

    Parameters:
      own: it has, or had, an enrollment of this portal.
      of_others: it has, or had, one of another portal.
    """

    own: bool
    of_others: bool


def find_person(session: Session, email: str) -> UUID | None:
    """The account of a normalised address, unless it was erased."""
    return session.exec(_known(email)).one_or_none()


def hold_person(session: Session, email: str) -> UUID | None:
    """The same; they are not erased until this transaction ends.

    An erasure waits until what is told here is recorded, and then empties it; or it came first, and there is nobody.
    """
    return session.exec(_known(email).with_for_update(read=True, key_share=True)).one_or_none()


def _known(email: str) -> SelectOfScalar[UUID]:
    return select(Account.id).where(Account.email_norm == email, col(Account.erased_at).is_(None))


def may_not_see(session: Session, portal_id: UUID, account_id: UUID) -> Code | None:
    """Why a portal learns nothing of this account: it is none of its companies'; None if it may. `local` always may."""
    if portal_id == LOCAL_PORTAL_ID or _belongs(session, portal_id, account_id).own:
        return None
    return Code.NOT_FOUND


def may_not_erase(session: Session, portal_id: UUID, account_id: UUID) -> Code | None:
    """Why a portal cannot have this account erased: none of its own, or ever another's too. `local` always can: a
    portal that is refused withdraws its own enrollments and asks ops.
    """
    if portal_id == LOCAL_PORTAL_ID:
        return None
    belongs = _belongs(session, portal_id, account_id)
    if not belongs.own:
        return Code.NOT_FOUND
    return Code.SHARED_ACCOUNT if belongs.of_others else None


def _belongs(session: Session, portal_id: UUID, account_id: UUID) -> AccountOwnership:
    [owned] = fetch(session, AccountOwnership, READ_OWNERSHIP, {"portal": portal_id, "account": account_id})
    return owned
