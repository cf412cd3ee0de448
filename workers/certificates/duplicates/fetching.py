"""Fetches a file of duplicates as it was delivered; makes it again when the store has lost it."""

import shutil
import tempfile
from collections.abc import Iterator
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import UUID

from workers.certificates.duplicates.copies import read_copies
from workers.certificates.duplicates.files import (
    DuplicateFile,
    expect_refill,
    find_file,
    replace_bytes,
)
from workers.certificates.duplicates.index import read_index
from workers.certificates.duplicates.making import DocumentMaker
from workers.database import transaction

PIECE = 1 << 16


class FileContent(NamedTuple):
    """The content of a file; its size may differ from the registered one when it had to be made again.

    Parameters:
      size: the bytes of all pieces together.
    """

    size: int
    pieces: Iterator[bytes]


def read_file(file_id: UUID) -> bytes | None:
    """Returns the whole file; None when it cannot be made again."""
    with transaction() as session:
        file = find_file(session, file_id)
    found = None if file is None else pieces(file)
    return None if found is None else b"".join(found.pieces) or None


def pieces(file: DuplicateFile) -> FileContent | None:
    """Returns the file in pieces, so that a large zip is never in memory; None when it cannot be made again.

    Raises: Transient when the store cannot be reached.
    """
    maker = DocumentMaker.of_this_thread()
    if file.duplicate_id is not None:
        content = maker.fetch(file.duplicate_id)
        return None if content is None else FileContent(len(content), iter([content]))
    opened = tempfile.TemporaryFile(prefix="matricule-file-")  # noqa: SIM115 - closed with the last piece
    if maker.store.copy(file.sha256, file.suffix, opened) or _zip_again(maker, file, opened):
        return FileContent(opened.seek(0, SEEK_END), _read(opened))
    opened.close()
    return None


def _read(opened: BinaryIO) -> Iterator[bytes]:
    with opened:
        opened.seek(0)
        while piece := opened.read(PIECE):
            yield piece


def _zip_again(maker: DocumentMaker, file: DuplicateFile, into: BinaryIO) -> bool:
    """Makes a zip again that the store has lost; its hash differs when its documents were sealed anew."""
    with transaction() as session:
        copies, index = read_copies(session, file.job_id), read_index(session, file.job_id)
        if not copies:
            return False
        # Recorded before the bytes are stored: else a process that dies in between would leave bytes for ever.
        expect_refill(session, file.file_id)
    with tempfile.TemporaryDirectory(prefix="matricule-zip-") as folder:
        path = Path(folder) / "file.zip"
        maker.zip(path, copies, index, copies[0].locale)
        digest, size = maker.store.put_file(path, file.suffix), path.stat().st_size
        into.seek(0)
        into.truncate()
        with path.open("rb") as filled:
            shutil.copyfileobj(filled, into)
    if digest != file.sha256:
        with transaction() as session:
            replace_bytes(session, file.file_id, digest, size)
    return True
