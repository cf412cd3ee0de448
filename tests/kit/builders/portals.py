"""Tests that send as a portal use these: portals with a key, in the database of the test.

``python -m tests.kit.builders.portals NAME`` makes one in the database of DATABASE_URL and prints it as JSON.
"""

import json
import sys
from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from sqlmodel import select

from models.base import new_id
from models.portal import Portal
from models.words import Scope
from workers.database import Session, transaction
from workers.portals.keys import KnownKey, add_key, find_key_by_id
from workers.portals.secrets import master_secrets, queue_secret

EVERY_SCOPE = tuple(Scope)


class PortalCredentials(NamedTuple):
    """The key with which a portal calls, and the secret with which it signs what it puts on a queue."""

    portal: str
    portal_id: UUID
    key: str
    key_id: str
    secret: str

    def known(self, session: Session) -> KnownKey:
        """Returns the key as a door finds it."""
        found = find_key_by_id(session, self.key_id)
        assert found is not None
        return found


def make_portal(
    name: str = "demo", *, scopes: Collection[Scope] = EVERY_SCOPE, companies: Collection[str] | None = None
) -> PortalCredentials:
    """Records a portal, or a further key of one that is there, and commits."""
    with transaction() as session:
        return add_portal(session, name, scopes=scopes, companies=companies)


def add_portal(
    session: Session,
    name: str = "demo",
    *,
    scopes: Collection[Scope] = EVERY_SCOPE,
    companies: Collection[str] | None = None,
) -> PortalCredentials:
    """Does what ``make_portal`` does, in a session of the test."""
    portal_id = session.exec(select(Portal.id).where(Portal.name == name)).one_or_none()
    if portal_id is None:
        portal_id = new_id()
        session.add(Portal(id=portal_id, name=name, requests_per_minute=None))
        session.flush()
    master_id = master_secrets().newest
    made = add_key(session, portal_id, scopes=scopes, companies=companies, master_id=master_id)
    return PortalCredentials(name, portal_id, made.text, made.key_id, queue_secret(master_id, made.key_id))


if __name__ == "__main__":
    print(json.dumps(make_portal(sys.argv[1])._asdict(), default=str))
