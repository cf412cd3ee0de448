"""Takes in a roster file as it arrives, a megabyte at a time, so that it is never in memory or on a disk of this host.

Its hash, under which it is kept, is known at the end alone. Until then its parts are committed one by one under a name
of their own: no transaction waits for a slow client. The last transaction gives them the hash as their name, and
records the import. An upload that breaks off is deleted; of one that was killed the purge deletes the parts after a
day. No import can name them, because a hash has 32 bytes.
"""

import hashlib
import secrets
from typing import Final
from uuid import UUID

from sqlalchemy import delete, insert, text, update
from sqlmodel import col

from models.roster import UPLOAD_NAME_BYTES, RosterFile, RosterPart
from workers.database import Session, transaction
from workers.imports.files import INSERT_FILE, PART
from workers.sql import fetch_value

# Begins the parts of an upload.
INSERT_UPLOAD = text("INSERT INTO roster_file (portal_id, sha256, size) VALUES (:portal, :name, 0)")


class RosterUpload:
    """A file that arrives.

    Parameters:
      portal_id: the portal that sends it.
      size: the bytes that have arrived.
    """

    def __init__(self, portal_id: UUID) -> None:
        self.size = 0
        self._portal_id = portal_id
        self._name: Final = secrets.token_bytes(UPLOAD_NAME_BYTES)
        self._digest = hashlib.sha256()
        self._rest = bytearray()
        self._parts = 0

    def add(self, content: bytes) -> bool:
        """Takes the next bytes; returns whether a whole part of them waits for ``commit``."""
        self.size += len(content)
        self._rest += content
        return len(self._rest) >= PART

    def commit(self) -> None:
        """Commits the whole parts that have arrived, one by one."""
        while len(self._rest) >= PART:
            part = bytes(self._rest[:PART])
            with transaction() as session:
                if self._parts == 0:
                    session.execute(INSERT_UPLOAD, {"portal": self._portal_id, "name": self._name})
                self._insert(session, self._name, part)
            self._digest.update(part)
            self._parts += 1
            del self._rest[:PART]

    def keep(self, session: Session) -> str:
        """Keeps the file in this transaction, once under any name; returns its SHA-256 in hexadecimal digits.

        The last part is written in the same transaction.
        """
        digest = self._digest.copy()
        digest.update(self._rest)
        sha256 = digest.digest()
        asked = {"portal": self._portal_id, "sha256": sha256, "size": self.size}
        if fetch_value(session, bool, INSERT_FILE, asked):
            uploaded = (col(RosterPart.portal_id) == self._portal_id, col(RosterPart.sha256) == self._name)
            session.execute(update(RosterPart).where(*uploaded).values(sha256=sha256))
            if self._rest:
                self._insert(session, sha256, bytes(self._rest))
        self._delete(session)
        return sha256.hex()

    def drop(self) -> None:
        """Deletes what has been committed of an upload that is not kept."""
        with transaction() as session:
            self._delete(session)

    def _insert(self, session: Session, name: bytes, part: bytes) -> None:
        row = {"portal_id": self._portal_id, "sha256": name, "number": self._parts, "content": part}
        session.execute(insert(RosterPart).values(row))

    def _delete(self, session: Session) -> None:
        which = (col(RosterFile.portal_id) == self._portal_id, col(RosterFile.sha256) == self._name)
        session.execute(delete(RosterFile).where(*which))
