"""Sends the file of a roster in pieces, and tells how far it is."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Final

from typing_extensions import Unpack

from workers.portal_client.addresses import path_of
from workers.portal_client.asking import job_id
from workers.portal_client.errors import NeedsHttp
from workers.portal_client.http_door import HttpAnswer, HttpDoor
from workers.portal_client.options import EnrollOptions, Identifier, UploadOptions
from workers.portal_client.results import Job

Progress = Callable[[int, int | None], None]
"""Called with the bytes that were sent, and the bytes of the file where they are known."""

PIECE: Final = 1 << 16

TYPES: Final[Mapping[str, str]] = {
    ".csv": "text/csv",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
}


class Uploading:
    """The functions that send a file, and import one that was sent before."""

    _door: Any

    def upload_roster(
        self,
        contract: str,
        file: str | Path | BinaryIO,
        *,
        key: str,
        progress: Progress | None = None,
        **more: Unpack[UploadOptions],
    ) -> Job:
        """Imports a file of people (CSV, .xlsx, .ods, at most 200 MB); only a piece of it is in memory.

        Parameters:
          file: its path, or an open file of bytes, which is read from where it stands. One that cannot be read twice
            is sent once.
          progress: called after each piece; a repeat begins again at 0.

        Raises: PortalError, as every request.
        """
        if not isinstance(self._door, HttpDoor):
            raise NeedsHttp("a file is sent over HTTP")
        door, path = self._door, path_of("/contracts/{contract}/rosters", contract=contract)
        with _opened(file) as opened:
            name = more.get("filename") or _name_of(opened)
            source = _Source(opened, progress)

            def send() -> HttpAnswer:
                pieces, headers = source.begin(), source.headers(name)
                query = {**more, "filename": name or None}
                return door.call("POST", path, query=query, content=pieces, key=key, headers=headers)

            return door.job_of(send, patience=None if source.rereadable else 0.0)

    def import_kept_roster(self, job: Identifier | Job, *, key: str, **more: Unpack[EnrollOptions]) -> Job:
        """Imports the file of an earlier import or dry run without sending it again: does what a dry run has shown.

        An option that is left out is as it was there, but `dry_run`, which is False.

        Raises: PortalError, `not_kept` when the file is kept no longer.
        """
        if not isinstance(self._door, HttpDoor):
            raise NeedsHttp("a file is imported over HTTP")
        door, path = self._door, path_of("/rosters/{job}/import", job=job_id(job))
        content = json.dumps(more).encode()
        return door.job_of(lambda: door.call("POST", path, content=content, key=key))


class _Source:
    """The file that is sent, which may be begun again."""

    def __init__(self, file: BinaryIO, progress: Progress | None) -> None:
        self._file = file
        self._progress = progress
        self.rereadable = file.seekable()
        self._start = file.tell() if self.rereadable else 0
        self._size: int | None = None
        if self.rereadable:
            self._size = file.seek(0, os.SEEK_END) - self._start
            file.seek(self._start)

    def headers(self, name: str) -> dict[str, str]:
        """Returns the headers of the body; without a known size it is sent in chunks."""
        kind = TYPES.get(PurePath(name).suffix.lower(), "application/octet-stream")
        return {"Content-Type": kind} | ({} if self._size is None else {"Content-Length": str(self._size)})

    def begin(self) -> Iterator[bytes]:
        """Yields the file from its beginning, piece by piece."""
        if self.rereadable:
            self._file.seek(self._start)
        sent = 0
        while piece := self._file.read(PIECE):
            yield piece
            sent += len(piece)
            if self._progress is not None:
                self._progress(sent, self._size)


@contextmanager
def _opened(file: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(file, str | Path):
        with Path(file).open("rb") as opened:
            yield opened
    else:
        yield file


def _name_of(file: BinaryIO) -> str:
    name = getattr(file, "name", "")
    return PurePath(name).name if isinstance(name, str) else ""
