"""Lists portals with their keys, of which nothing secret is known."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.database import Session
from workers.sql import fetch

# Lists the portals.
LIST_PORTALS = text("""
    SELECT p.id, p.name, p.requests_per_minute, p.contact, p.created_at FROM portal p ORDER BY p.name""")

# Lists the keys of all portals, oldest first, and says by the clock of the database which of them live.
LIST_KEYS = text("""
    SELECT k.portal_id, p.name AS portal, k.key_id, k.scopes, k.companies, k.master_id, k.created_at, k.expires_at,
      k.revoked_at, k.last_used_at,
      CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked' WHEN k.expires_at <= now() THEN 'expired' ELSE 'live' END
        AS state
    FROM portal_key k JOIN portal p ON p.id = k.portal_id ORDER BY k.id""")


class ListedPortal(NamedTuple):
    """A portal.

    Parameters:
      requests_per_minute: how many it may send over HTTP, or None: any number.
      contact: the address of the people who run it.
    """

    id: UUID
    name: str
    requests_per_minute: int | None
    contact: str | None
    created_at: datetime


class ListedKey(NamedTuple):
    """A key, without what is secret of it.

    Parameters:
      companies: references of the companies it may name, or None for all of its portal.
      master_id: the id of the secret of ``PORTAL_KEYS`` from which its queue secret derives, or None: it signs nothing.
      last_used_at: to the minute; None: not yet.
    """

    portal_id: UUID
    portal: str
    key_id: str
    scopes: Sequence[str]
    companies: Sequence[str] | None
    master_id: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    state: Literal["live", "expired", "revoked"]


def list_portals(session: Session) -> list[ListedPortal]:
    """Lists the portals by name."""
    return fetch(session, ListedPortal, LIST_PORTALS)


def list_keys(session: Session) -> list[ListedKey]:
    """Lists the keys of all portals, oldest first."""
    return fetch(session, ListedKey, LIST_KEYS)
