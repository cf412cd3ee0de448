"""Finds a person by address, and decides which portals may see or erase them."""

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

# A person who said "this is not me" no longer belongs to that company. Against other portals an enrollment counts for
# ever, withdrawn or not: otherwise a portal could enrol the person of another portal once, after that one withdrew
# them, and have their history and certificates there erased.
READ_OWNERSHIP = text("""
    SELECT coalesce(bool_or(c.portal_id = :portal AND e.detached_at IS NULL), false) AS own,
      coalesce(bool_or(c.portal_id <> :portal), false) AS of_others
    FROM enrollment e JOIN contract c ON c.id = e.contract_id WHERE e.account_id = :account""")


class AccountOwnership(NamedTuple):
    """The portals an account belongs to, as one portal sees it.

    Parameters:
      own: the account has, or had, an enrollment with this portal.
      of_others: the account has, or had, an enrollment with another portal.
    """

    own: bool
    of_others: bool


def find_person(session: Session, email: str) -> UUID | None:
    """Finds the account of a normalised address, unless it was erased."""
    return session.exec(_known(email)).one_or_none()


def hold_person(session: Session, email: str) -> UUID | None:
    """Finds the account of an address like `find_person`, and locks it against erasure until this transaction ends.

    An erasure either waits until this transaction has recorded its answer, and then empties it; or the erasure was
    first, and no account is found.
    """
    return session.exec(_known(email).with_for_update(read=True, key_share=True)).one_or_none()


def _known(email: str) -> SelectOfScalar[UUID]:
    return select(Account.id).where(Account.email_norm == email, col(Account.erased_at).is_(None))


def may_not_see(session: Session, portal_id: UUID, account_id: UUID) -> Code | None:
    """Refuses a portal that may not see this account, because none of its companies enrolled it; else None.

    The portal `local` may see every account.
    """
    if portal_id == LOCAL_PORTAL_ID or _belongs(session, portal_id, account_id).own:
        return None
    return Code.NOT_FOUND


def may_not_erase(session: Session, portal_id: UUID, account_id: UUID) -> Code | None:
    """Refuses a portal that may not erase this account: it never enrolled it, or another portal also did; else None.

    The portal `local` may erase every account; a portal that is refused withdraws its own enrollments and asks ops.
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
