"""The keys of portals: made, found, revoked; each has scopes, companies and an end."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.portal import PortalKey
from models.portal_key import NewKey, hash_key, make_key
from models.words import Scope
from workers.database import Session, autocommit
from workers.sql import fetch_one

CACHE_SECONDS: Final = 4.0
"""Seconds for which a key that was found counts as found, so that a revoked one is dead within five seconds."""

CACHED_KEYS: Final = 10_000
"""The most keys that are remembered, so that a stranger who tries many fills no memory."""

# Finds a key that lives by its hash, with its portal.
FIND_BY_HASH = text("""
    SELECT k.id, k.key_id, k.portal_id, p.name AS portal, k.scopes, k.companies, k.master_id, k.expires_at,
      p.requests_per_minute
    FROM portal_key k JOIN portal p ON p.id = k.portal_id
    WHERE k.hash = :hash AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())""")

# Finds a key that lives by its key id, with its portal.
FIND_BY_KEY_ID = text("""
    SELECT k.id, k.key_id, k.portal_id, p.name AS portal, k.scopes, k.companies, k.master_id, k.expires_at,
      p.requests_per_minute
    FROM portal_key k JOIN portal p ON p.id = k.portal_id
    WHERE k.key_id = :key_id AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())""")


class KnownKey(NamedTuple):
    """A key that lives, and its portal.

    Parameters:
      key_id: the part of the key that may be logged.
      portal: the name of the portal.
      scopes: words of ``Scope``; a newer release may know more of them.
      companies: references of the companies it may name, or None for all of its portal.
      master_id: the secret of ``PORTAL_KEYS`` that its queue secret derives from, or None: it may not sign messages.
      requests_per_minute: the limit of the portal, or None.
    """

    id: UUID
    key_id: str
    portal_id: UUID
    portal: str
    scopes: Sequence[str]
    companies: Sequence[str] | None
    master_id: str | None
    expires_at: datetime | None
    requests_per_minute: int | None

    def may(self, scope: Scope) -> bool:
        """Tells whether the key has this scope."""
        return scope in self.scopes

    def may_name(self, company: str) -> bool:
        """Tells whether the key may ask for something of this company."""
        return self.companies is None or company in self.companies


def add_key(
    session: Session,
    portal_id: UUID,
    *,
    scopes: Collection[Scope],
    companies: Collection[str] | None = None,
    master_id: str | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """Makes a key for a portal and records its hash; the key itself is returned and cannot be read again."""
    made = make_key()
    session.add(
        PortalKey(
            id=new_id(),
            key_id=made.key_id,
            portal_id=portal_id,
            hash=hash_key(made.text),
            scopes=sorted(scopes),
            companies=None if companies is None else sorted(companies),
            master_id=master_id,
            expires_at=expires_at,
        )
    )
    session.flush()
    return made


def find_key(session: Session, key: str) -> KnownKey | None:
    """Finds a key by its text; returns None when it is unknown, expired or revoked."""
    return fetch_one(session, KnownKey, FIND_BY_HASH, {"hash": hash_key(key)})


def find_key_by_id(session: Session, key_id: str) -> KnownKey | None:
    """Finds a key by its key id, as a signed message names it; returns None when it is unknown, expired or revoked."""
    return fetch_one(session, KnownKey, FIND_BY_KEY_ID, {"key_id": key_id})


class KeyCache:
    """Remembers for some seconds which keys were found, and which were not.

    Parameters:
      find: looks a key up in the database.
    """

    def __init__(self, find: Callable[[Session, str], KnownKey | None]) -> None:
        self._find = find
        self._found: OrderedDict[bytes, tuple[float, KnownKey | None]] = OrderedDict()
        self._lock = threading.Lock()

    def peek(self, text: str) -> tuple[bool, KnownKey | None]:
        """Tells whether the answer is remembered, and what it is, without a look into the database."""
        with self._lock:
            until, known = self._found.get(hash_key(text), (0.0, None))
        return time.monotonic() < until, known

    def get(self, text: str) -> KnownKey | None:
        """Returns a key, from memory or from the database.

        Raises: errors of the database.
        """
        remembered, known = self.peek(text)
        if remembered:
            return known
        asked = time.monotonic()
        with autocommit() as session:
            known = self._find(session, text)
        with self._lock:
            self._found[hash_key(text)] = (asked + CACHE_SECONDS, known)
            self._found.move_to_end(hash_key(text))
            if len(self._found) > CACHED_KEYS:
                self._found.popitem(last=False)
        return known

    def forget(self) -> None:
        """Forgets all keys."""
        with self._lock:
            self._found.clear()


HTTP_KEYS: Final = KeyCache(find_key)
"""The keys that this process has met over HTTP, by their text."""

QUEUE_KEYS: Final = KeyCache(find_key_by_id)
"""The keys that this process has met in messages, by their key id."""
