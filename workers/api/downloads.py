"""Answers with files: their headers, and their content in pieces."""

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from tempfile import TemporaryFile
from typing import BinaryIO, Final
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from workers.api.calls import Call

PIECE: Final = 1 << 16

WORK_SECONDS: Final = 0.02
"""Seconds for which a file is made without a pause, and of the pause."""

CSV: Final = "text/csv; charset=utf-8"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._-()")
"""The characters that every client reads in a file name in quotes."""


def content_disposition(name: str) -> str:
    """Returns the header that has a file saved under this name (RFC 6266).

    Clients that do not read `filename*` get a name with ``_`` for each character that is not plain.
    """
    shown = name.encode("utf-8", "replace").decode().replace("/", "_").replace("\\", "_")
    plain = "".join(one if one in _PLAIN else "_" for one in shown)
    if plain == shown:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(shown, safe='')}"


def file_answer(content: bytes, name: str, media_type: str) -> Response:
    """Answers with a small file."""
    return Response(content, headers={"Content-Disposition": content_disposition(name)}, media_type=media_type)


def streamed_answer(pieces: AsyncIterator[bytes], name: str, media_type: str, size: int | None = None) -> Response:
    """Answers with a file in pieces.

    Parameters:
      size: the bytes of all pieces together, if it is known.
    """
    headers = {"Content-Disposition": content_disposition(name)}
    if size is not None:
        headers["Content-Length"] = str(size)
    return StreamingResponse(pieces, headers=headers, media_type=media_type)


async def threaded(call: Call, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yields pieces that are made in a thread; each one waits until the client has taken the one before."""
    while (piece := await call.run(lambda: next(pieces, None))) is not None:
        yield piece


def collect(lines: Iterable[bytes]) -> BinaryIO:
    """Collects the lines of a file on this host, so that no connection to the database waits for a slow client.

    It rests for as long as it works: a thread that computes without a pause would slow down all other calls of the
    process, for as long as a file of a million rows takes.
    """
    file = TemporaryFile(prefix="matricule-api-")  # noqa: SIM115 - closed with its last piece
    try:
        rest_at = time.monotonic() + WORK_SECONDS
        for line in lines:
            file.write(line)
            if time.monotonic() > rest_at:
                time.sleep(WORK_SECONDS)
                rest_at = time.monotonic() + WORK_SECONDS
    except BaseException:
        file.close()
        raise
    return file


def read_pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yields a file from its beginning, and closes it."""
    with file:
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece
