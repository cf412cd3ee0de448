"""Makes the user `demo` of the console of a local system, with all rights.

python -m scripts.embedded.demo_user FILE

FILE keeps the password, of which the database has the hash only, so that a later start on the same data has the same.
"""

import json
import secrets
import sys
from pathlib import Path
from typing import Final

from models.ops_user import Role
from scripts.embedded.places import write_private
from workers.access.passwords import HASHER, hash_password
from workers.database import transaction
from workers.ops.users import UserRefusal, add_user, read_hash, set_password

NAME: Final = "demo"
ASKER: Final = "scripts/dev"


def main() -> None:
    """Keeps the password of the file, or makes another one."""
    file = Path(sys.argv[1])
    with transaction() as session:
        hashed = read_hash(session, NAME)
    if hashed is not None and HASHER.verify(_kept(file), hashed):
        return
    password = secrets.token_urlsafe(18)
    hashed = hash_password(password)
    with transaction() as session:
        made = add_user(session, NAME, Role.ADMIN, password_hash=hashed, requested_by=ASKER)
        if made is UserRefusal.TAKEN:
            set_password(session, NAME, hashed, requested_by=ASKER)
    write_private(file, json.dumps({"OPS_USER": NAME, "OPS_PASSWORD": password}))


def _kept(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["OPS_PASSWORD"])
    except (OSError, ValueError, KeyError):
        return ""


if __name__ == "__main__":
    main()
