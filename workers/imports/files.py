"""The bytes of roster files: kept in the database in parts of a megabyte, until retention takes them.

So a file and the job that imports it are committed together, and any host can do the job.
"""

import hashlib
import tempfile
from typing import BinaryIO, Final
from uuid import UUID

from sqlalchemy import text

from workers.database import Session

PART: Final = 1 << 20

INSERT_FILE = text("""
    INSERT INTO roster_file (portal_id, sha256, size) VALUES (:portal, :sha256, :size)
    ON CONFLICT (portal_id, sha256) DO UPDATE SET used_at = now() RETURNING xmax = 0""")

INSERT_PART = text("""
    INSERT INTO roster_part (portal_id, sha256, number, content) VALUES (:portal, :sha256, :number, :content)""")

READ_PART = text("""
    SELECT content FROM roster_part WHERE portal_id = :portal AND sha256 = :sha256 AND number = :number""")


def store_file(session: Session, portal_id: UUID, file: BinaryIO) -> str:
    """Keeps a file of a portal, once whatever its name; returns its SHA-256 in hexadecimal digits."""
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while part := file.read(PART):
        digest.update(part)
        size += len(part)
    sha256 = digest.digest()
    if session.execute(INSERT_FILE, {"portal": portal_id, "sha256": sha256, "size": size}).scalar():
        file.seek(0)
        number = 0
        while part := file.read(PART):
            session.execute(INSERT_PART, {"portal": portal_id, "sha256": sha256, "number": number, "content": part})
            number += 1
    return sha256.hex()


def open_file(session: Session, portal_id: UUID, sha256: str) -> BinaryIO | None:
    """The file as a temporary one on this host, gone when closed; None when it is kept no longer."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    digest, number = hashlib.sha256(), 0
    while True:
        part = session.execute(
            READ_PART, {"portal": portal_id, "sha256": bytes.fromhex(sha256), "number": number}
        ).scalar()
        if part is None:
            break
        digest.update(part)
        copy.write(part)
        number += 1
    if digest.hexdigest() != sha256:  # also of a file of which nothing is left
        copy.close()
        return None
    return copy
