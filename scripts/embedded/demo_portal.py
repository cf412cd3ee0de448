"""Makes the portal `demo` of a local system, without a limit, with a key for everything.

python -m scripts.embedded.demo_portal FILE

FILE keeps the key, which nothing else does, so that a later start on the same data has the same one. It is made anew
when it is of no use any more: revoked, of another database, or signed with another secret of ``PORTAL_KEYS``.
"""

import json
import sys
from pathlib import Path
from typing import Final

from models.words import Scope
from scripts.embedded.places import write_private
from workers.database import Session, transaction
from workers.portals.changes import KeyRights, create_portal, limit_portal
from workers.portals.keys import find_key
from workers.portals.secrets import master_secrets, queue_secret

NAME: Final = "demo"
ASKER: Final = "scripts/dev"


def main() -> None:
    """Keeps the key of the file, or makes another one."""
    file = Path(sys.argv[1])
    with transaction() as session:
        if _still_works(session, file):
            return
        made = create_portal(session, NAME, KeyRights(list(Scope), signs=True), requested_by=ASKER)
        limit_portal(session, NAME, None, requested_by=ASKER)
    write_private(
        file,
        json.dumps(
            {
                "PORTAL_NAME": NAME,
                "PORTAL_KEY": made.text,
                "PORTAL_KEY_ID": made.key_id,
                "PORTAL_QUEUE_SECRET": made.queue_secret,
            }
        ),
    )


def _still_works(session: Session, file: Path) -> bool:
    """Tells whether the key of the file is one of this database, with all scopes and the secret that the file says."""
    try:
        kept = json.loads(file.read_text())
        known, secret = find_key(session, kept["PORTAL_KEY"]), kept["PORTAL_QUEUE_SECRET"]
    except (OSError, ValueError, KeyError):
        return False
    if known is None or known.portal != NAME or known.master_id not in master_secrets().key_ids:
        return False
    return set(known.scopes) >= set(Scope) and secret == queue_secret(known.master_id, known.key_id)


if __name__ == "__main__":
    main()
