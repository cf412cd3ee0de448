"""Reads links for their holders: the account, the purpose, and the reason when a link cannot be used any more."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text

from models.link import link_refused
from models.words import Code, Purpose
from workers.database import Session
from workers.security.tokens import SigningKeys, check_token, read_token
from workers.sql import fetch_one

_FOUND: Final = """
    SELECT l.id, l.purpose, l.account_id, l.subject_id, l.key_id, l.version, l.expires_at, l.consumed_at, l.voided_at,
      now() AS now, a.email_norm, a.first_name, a.last_name, a.locale
    FROM link l JOIN account a ON a.id = l.account_id WHERE l.id = :id"""

# Finds what a link is for and whether it is still good.
FIND_LINK = text(_FOUND)
# Finds the same and locks the link, so that it is used once.
LOCK_LINK = text(f"{_FOUND} FOR UPDATE OF l")

# Marks a link as used, unless it was used or voided before.
CONSUME_LINK = text("UPDATE link SET consumed_at = now() WHERE id = :id AND consumed_at IS NULL AND voided_at IS NULL")


class _LinkRow(NamedTuple):
    id: UUID
    purpose: str
    account_id: UUID
    subject_id: UUID | None
    key_id: str
    version: int
    expires_at: datetime
    consumed_at: datetime | None
    voided_at: datetime | None
    now: datetime
    email_norm: str
    first_name: str
    last_name: str
    locale: str


@dataclass(frozen=True, slots=True)
class LinkView:
    """A link that may be used, with the data of the account that its page shows.

    Parameters:
      subject_id: the correction or enrollment it is about, or None.
      expires_at: the end of its validity.
    """

    link_id: UUID
    purpose: Purpose
    account_id: UUID
    subject_id: UUID | None
    email: str
    first_name: str
    last_name: str
    locale: str
    expires_at: datetime

    @property
    def greeted(self) -> str:
        """The name that the page greets: the only one of a person with one name."""
        return self.first_name or self.last_name


@dataclass(frozen=True, slots=True)
class LinkUse:
    """A link that may no longer be valid: its purpose, account and subject, and the language of its page."""

    locale: str
    purpose: Purpose
    account_id: UUID
    subject_id: UUID | None


def look_at_link(session: Session, keys: SigningKeys, token: str) -> LinkView | Code:
    """Finds the link of this token, or why it cannot be used. It changes nothing, because mail scanners open links too.

    A token that is unknown, altered, signed for another purpose or with a withdrawn key, and a link that was voided,
    all give ``INVALID_LINK``; ``USED_LINK`` and ``EXPIRED_LINK`` are told only to a holder of the true token.
    """
    return _find(session, FIND_LINK, keys, token)


def hold_link(session: Session, keys: SigningKeys, token: str) -> LinkView | Code:
    """Finds a link like `look_at_link`, and locks it until this transaction ends. Lock its account before."""
    return _find(session, LOCK_LINK, keys, token)


def consume_link(session: Session, link_id: UUID) -> None:
    """Marks a locked link as used, so that it cannot be used again."""
    session.execute(CONSUME_LINK, {"id": link_id})


def read_link_use(session: Session, keys: SigningKeys, token: str) -> LinkUse | None:
    """Reads the purpose and subject of a link for a holder of the true token, even when it is no longer valid."""
    row = _read(session, FIND_LINK, keys, token)
    return None if row is None else LinkUse(row.locale, Purpose(row.purpose), row.account_id, row.subject_id)


def _find(session: Session, statement: TextClause, keys: SigningKeys, token: str) -> LinkView | Code:
    row = _read(session, statement, keys, token)
    if row is None:
        return Code.INVALID_LINK
    refused = link_refused(consumed_at=row.consumed_at, voided_at=row.voided_at, expires_at=row.expires_at, now=row.now)
    if refused is not None:
        return refused
    person = (row.email_norm, row.first_name, row.last_name, row.locale)
    return LinkView(row.id, Purpose(row.purpose), row.account_id, row.subject_id, *person, row.expires_at)


def _read(session: Session, statement: TextClause, keys: SigningKeys, token: str) -> _LinkRow | None:
    """Reads the row of the link if this is its token, else None."""
    link_id = read_token(token)
    row = None if link_id is None else fetch_one(session, _LinkRow, statement, {"id": link_id})
    return row if row is not None and _signed(keys, token, row) else None


def _signed(keys: SigningKeys, token: str, row: _LinkRow) -> bool:
    return check_token(
        keys,
        token,
        key_id=row.key_id,
        link_id=row.id,
        purpose=Purpose(row.purpose),
        version=row.version,
        account_id=row.account_id,
    )
