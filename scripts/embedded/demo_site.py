"""Makes what the example portal of a local system needs: keys, a webhook endpoint, and an inbox.

python -m scripts.embedded.demo_site FILE SITE_URL INBOX

FILE is the settings of ``scripts.portal``. Each company has a key that is limited to it, and the learner's side has one
of its own. They are kept from start to start, and made anew when one is of no use any more, as for ``demo_portal``.
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from models.portal import LOCAL_PORTAL_ID
from models.words import Policy, Scope
from scripts.embedded.demo_portal import ASKER, NAME
from scripts.embedded.places import write_private
from scripts.portal.settings import CompanyAccess, SiteSettings, read_settings
from workers.database import Session, transaction
from workers.engine.acceptance import find_portal
from workers.imports.inboxes import put_inbox
from workers.portals.changes import KeyRights, create_portal
from workers.portals.endpoints import put_endpoint
from workers.portals.keys import find_key
from workers.requests.internal import PutInbox

ENDPOINT: Final = "gestion-entreprise"
INBOX: Final = "demo"
INBOX_CONTRACT: Final = "demo-incendie"

MANAGER_SCOPES: Final = (Scope.READ, Scope.ENROLL, Scope.ACCOUNTS, Scope.CERTIFICATES)
LEARNER_SCOPES: Final = (Scope.SIGN_IN, Scope.READ, Scope.PROGRESS, Scope.CERTIFICATES)


class DemoCompany(NamedTuple):
    """A company of the demonstration, and the name of its manager."""

    reference: str
    name: str
    manager: str


COMPANIES: Final = (
    DemoCompany("demo-atelier-bocage", "Atelier du Bocage", "Claire Aubrac"),
    DemoCompany("demo-cabinet-ferrand", "Cabinet Ferrand & Associés", "Hugo Ferrand"),
)


def main() -> None:
    """Writes the settings of the site, with the keys that they had before where these still work."""
    file, site_url, inbox = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    kept = _kept(file)
    with transaction() as session:
        portal_id = find_portal(session, NAME)
        wanted = [(MANAGER_SCOPES, one.reference) for one in COMPANIES]
        keys = [_key(session, kept, scopes, company) for scopes, company in (*wanted, (LEARNER_SCOPES, None))]
        secret = _endpoint(session, portal_id, f"{site_url}/webhooks")
        _put_inbox(session, inbox)
    settings = SiteSettings(
        matricule=os.environ["PORTAL_URL"],
        secret=kept.secret if kept else secrets.token_urlsafe(32),
        companies=tuple(
            CompanyAccess(one.reference, one.name, one.manager, key)
            for one, key in zip(COMPANIES, keys[:-1], strict=True)
        ),
        learner_key=keys[-1],
        platform=os.environ["PLATFORM_NAME"],
        support=os.environ["SUPPORT_ADDRESS"],
        webhook_secrets=(secret,),
        mailbox=os.environ.get("MAILBOX_URL"),
    )
    write_private(file, settings.as_json())


def _kept(file: Path) -> SiteSettings | None:
    try:
        return read_settings(file)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key(session: Session, kept: SiteSettings | None, scopes: tuple[Scope, ...], company: str | None) -> str:
    """Returns the key that was kept, if it still has these rights, or a new one."""
    companies = None if company is None else [company]
    had = {None: kept.learner_key} | {one.reference: one.key for one in kept.companies} if kept else {}
    known = find_key(session, had[company]) if company in had else None
    if known is not None and known.portal == NAME and set(known.scopes) == set(scopes):
        allowed = None if known.companies is None else list(known.companies)
        if allowed == companies:
            return had[company]
    return create_portal(session, NAME, KeyRights(scopes, companies), requested_by=ASKER).text


def _endpoint(session: Session, portal_id: UUID, url: str) -> str:
    """Records the endpoint of the site, or changes its address; returns the secret that signs what it is told."""
    return put_endpoint(session, portal_id, ENDPOINT, url, private=True, requested_by=ASKER).endpoint.secret


def _put_inbox(session: Session, folder: Path) -> None:
    """Has a folder of the data folder looked into."""
    folder.mkdir(exist_ok=True)
    asked = PutInbox(
        portal=NAME,
        reference=INBOX,
        contract=INBOX_CONTRACT,
        url=folder.as_uri(),
        policy=Policy.UNTIL_FULL,
        requested_by=ASKER,
    )
    put_inbox(session, LOCAL_PORTAL_ID, None, asked)


if __name__ == "__main__":
    main()
