"""Writes and reads backups: one tar file with a dump of the database and the documents of a store that is a folder.

The order of its members is the order in which they were taken. Documents are copied after the dump, so that every
document the dump names is there; the last member says that the file is whole.
"""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final, NamedTuple

from sqlalchemy import func
from sqlmodel import select

from models.portal import LOCAL_PORTAL_ID
from workers.audit import record
from workers.database import transaction
from workers.documents.store import DocumentStore
from workers.engine.rollout import this_release
from workers.errors import MatriculeError
from workers.ops.dumping import dump
from workers.revisions import read_revisions
from workers.settings import get_settings

FORMAT: Final = 1
HEAD, DUMP, DOCUMENTS, END = "backup.json", "database.dump", "documents/", "end.json"
DOCUMENT: Final = re.compile(r"documents/[0-9a-f]{2}/([0-9a-f]{64})(\.[a-z]{1,5})")
PIECE: Final = 1 << 20


class InvalidBackup(MatriculeError):
    """A file is no backup, or not a whole one. Nothing was restored."""


class BackupContent(NamedTuple):
    """The facts of a backup.

    Parameters:
      taken_at: the moment before the dump; all that was committed before it is in the backup.
      release: the release that wrote it.
      revision: of its tables.
      documents: how many it holds; None when the store is no folder, and is backed up elsewhere.
    """

    taken_at: datetime
    release: str
    revision: str | None
    documents: int | None

    def as_json(self) -> dict[str, Any]:
        """Returns the form in which commands show it."""
        return self._asdict() | {"taken_at": self.taken_at.isoformat()}


def write_backup(file: BinaryIO, draft: Path, *, requested_by: str) -> BackupContent:
    """Writes a backup of the database and of its documents; the audit trail keeps that it was taken, and by whom.

    Parameters:
      file: is written from its beginning to its end; it may be a pipe.
      draft: a folder with room for the dump, which is written there first; its size stands before it in the file.
    """
    folder = DocumentStore.from_settings(get_settings()).folder
    with transaction() as session:
        taken_at = session.exec(select(func.now())).one()
    revision = read_revisions().database
    head: dict[str, Any] = {
        "format": FORMAT,
        "taken_at": taken_at.isoformat(),
        "release": this_release(),
        "revision": revision,
    }
    with TemporaryDirectory(dir=draft, prefix=".backup-") as place, tarfile.open(fileobj=file, mode="w|") as archive:
        dumped = Path(place) / DUMP
        dump(dumped)
        _add(archive, HEAD, head)
        archive.add(dumped, DUMP)
        number = sum(1 for path in _documents(folder) if _add_document(archive, folder, path)) if folder else None
        with dumped.open("rb") as read:
            digest = hashlib.file_digest(read, "sha256").hexdigest()
        _add(archive, END, {"documents": number, "dump": digest})
    content = BackupContent(taken_at, head["release"], revision, number)
    with transaction() as session:
        record(session, "back_up", portal_id=LOCAL_PORTAL_ID, requested_by=requested_by, detail=content.as_json())
    return content


def _documents(folder: Path | None) -> Iterator[Path]:
    """Finds the documents of the store, and not the drafts of those that are being written."""
    for path in sorted(folder.glob("??/*")) if folder else ():
        if DOCUMENT.fullmatch(f"{DOCUMENTS}{path.parent.name}/{path.name}"):
            yield path


def _add_document(archive: tarfile.TarFile, folder: Path, path: Path) -> bool:
    """Adds a document; one that was deleted in this moment is left out."""
    try:
        opened = path.open("rb")
    except FileNotFoundError:
        return False
    with opened:
        member = tarfile.TarInfo(f"{DOCUMENTS}{path.relative_to(folder)}")
        member.size = os.fstat(opened.fileno()).st_size
        archive.addfile(member, opened)
    return True


def _add(archive: tarfile.TarFile, name: str, content: dict[str, Any]) -> None:
    written = json.dumps(content).encode()
    member = tarfile.TarInfo(name)
    member.size = len(written)
    archive.addfile(member, io.BytesIO(written))


def read_backup(file: Path, place: Path) -> tuple[BackupContent, Path]:
    """Checks that a backup is whole; returns its facts, and its dump as a file in the folder ``place``.

    Raises: InvalidBackup when it is none, was cut, or is of a later form.
    """
    try:
        with tarfile.open(file, mode="r:") as archive:
            return _read(archive, place / DUMP)
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidBackup(f"{file} is no whole backup of matricule: {type(error).__name__}: {error}") from error


def _read(archive: tarfile.TarFile, dumped: Path) -> tuple[BackupContent, Path]:
    head = _json(archive, HEAD)
    if head["format"] != FORMAT:
        raise InvalidBackup(f"its form is {head['format']}, this release reads {FORMAT}: take a newer release")
    end = _json(archive, END)
    digest = hashlib.sha256()
    with dumped.open("wb") as file:
        for piece in _pieces(archive, archive.getmember(DUMP)):
            digest.update(piece)
            file.write(piece)
    found = sum(1 for member in archive if member.name.startswith(DOCUMENTS))
    if digest.hexdigest() != end["dump"] or found != (end["documents"] or 0):
        raise ValueError("its parts are not those that its end names")
    taken_at = datetime.fromisoformat(head["taken_at"])
    return BackupContent(taken_at, head["release"], head["revision"], end["documents"]), dumped


def _json(archive: tarfile.TarFile, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(b"".join(_pieces(archive, archive.getmember(name))))
    return read


def _pieces(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    opened = archive.extractfile(member)
    if opened is None:
        raise ValueError(f"{member.name} is no file")
    with opened:
        yield from iter(lambda: opened.read(PIECE), b"")


def put_back_documents(file: Path, place: Path, store: DocumentStore) -> tuple[int, int]:
    """Puts the documents of a backup into a store of any kind.

    Returns: how many, and how many were left out because their bytes are not those that their name says. Documents
    that are missing are made again when they are asked for.
    """
    put, damaged = 0, 0
    piece = place / "document"
    with tarfile.open(file, mode="r:") as archive:
        for member in archive:
            if (named := DOCUMENT.fullmatch(member.name)) is None:
                continue
            with piece.open("wb") as written:
                written.writelines(_pieces(archive, member))
            with piece.open("rb") as read:
                whole = hashlib.file_digest(read, "sha256").hexdigest() == named[1]
            if whole:
                store.put_file(piece, named[2])
            put, damaged = put + whole, damaged + (not whole)
    return put, damaged


__all__ = ["BackupContent", "InvalidBackup", "put_back_documents", "read_backup", "write_backup"]
