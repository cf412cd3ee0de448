"""Keeps the bytes of roster files in the database, in parts of a megabyte, until retention deletes them.

So a file and the job that imports it are committed together, and any host can do the job.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, Final
from uuid import UUID

from sqlalchemy import insert, text
from sqlmodel import select

from models.roster import RosterPart
from workers.database import Session
from workers.sql import fetch_value

PART: Final = 1 << 20

# Records a file, or marks the one that is kept as used; returns whether it is new.
INSERT_FILE = text("""
    INSERT INTO roster_file (portal_id, sha256, size) VALUES (:portal, :sha256, :size)
    ON CONFLICT (portal_id, sha256) DO UPDATE SET used_at = now() RETURNING xmax = 0""")


def store_file(session: Session, portal_id: UUID, file: BinaryIO) -> str:
    """Keeps a file of a portal, once whatever its name; returns its SHA-256 in hexadecimal digits."""
    digest, size = hashlib.sha256(), 0
    for part in _parts(file):
        digest.update(part)
        size += len(part)
    sha256 = digest.digest()
    if fetch_value(session, bool, INSERT_FILE, {"portal": portal_id, "sha256": sha256, "size": size}):
        for number, part in enumerate(_parts(file)):
            row = {"portal_id": portal_id, "sha256": sha256, "number": number, "content": part}
            session.execute(insert(RosterPart).values(row))
    return sha256.hex()


def open_file(session: Session, portal_id: UUID, sha256: str) -> BinaryIO | None:
    """Copies the file to a temporary one on this host, which is gone when closed; None when it is kept no longer."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    digest = hashlib.sha256()
    for part in _read_parts(session, portal_id, bytes.fromhex(sha256)):
        digest.update(part)
        copy.write(part)
    if digest.hexdigest() != sha256:  # also when no part is left
        copy.close()
        return None
    return copy


def _parts(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while part := file.read(PART):
        yield part


def _read_parts(session: Session, portal_id: UUID, sha256: bytes) -> Iterator[bytes]:
    """Yields the parts one after the other: the whole file is never in memory."""
    number = 0
    while True:
        kept = select(RosterPart.content).where(RosterPart.portal_id == portal_id, RosterPart.sha256 == sha256)
        part = session.exec(kept.where(RosterPart.number == number)).first()
        if part is None:
            return
        yield part
        number += 1
