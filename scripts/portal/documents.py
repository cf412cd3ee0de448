"""Sends the files of duplicates: one document to be read in the browser, several as a zip to be kept."""

from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO, Final, NamedTuple
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from scripts.portal.view import page
from workers.portal_client import Job, NotAccepted, NotFound, Portal

PIECE: Final = 1 << 16

TYPES: Final = {"pdf": "application/pdf", "zip": "application/zip"}

POLICY: Final = "frame-ancestors 'none'"
"""The Content-Security-Policy of a document: the viewer of Chrome is an ``<embed>`` with inline styles, which that of
the pages would refuse."""

GONE: Final = frozenset({"expired_link", "certificate_revoked", "not_kept"})
"""The codes of a file that is given no longer."""

GONE_STATUS: Final = 410


class MadeFile(NamedTuple):
    """A file of duplicates: `pdf` or `zip`, and its name."""

    kind: str
    name: str


def send_document(request: Request, portal: Portal, job: Job, *, back: str, bare: bool = False) -> Response:
    """Sends the file of a job of duplicates, or says why it is given no longer.

    Parameters:
      back: the address to which that page leads; bare: it is shown without the manager's frame.

    Raises: PortalError, NotFound for a job that made no file.
    """
    made = file_of(job)
    with ExitStack() as unsent:
        file = unsent.enter_context(TemporaryFile())
        try:
            size = portal.save_duplicates(job, file, kind=made.kind)
        except NotAccepted as error:
            if error.code not in GONE:
                raise
            return page(request, "document_gone.html", status=GONE_STATUS, bare=bare, code=error.code, back=back)
        file.seek(0)
        unsent.pop_all()
    place = "inline" if made.kind == "pdf" else "attachment"
    headers = {
        "Content-Disposition": f"{place}; filename*=UTF-8''{quote(made.name, safe='')}",
        "Content-Length": str(size),
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-store",
    }
    return StreamingResponse(_pieces(file), media_type=TYPES[made.kind], headers=headers)


def file_of(job: Job) -> MadeFile:
    """Returns the kind and the name of the file that a job made.

    Raises: NotFound when it made none.
    """
    told = (job.result.model_extra or {}).get("file")
    kind = told.get("kind") if isinstance(told, dict) else None
    if not isinstance(told, dict) or kind not in TYPES:
        raise NotFound("not_found")
    return MadeFile(kind, str(told.get("name") or f"attestations.{kind}"))


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE):
            yield piece
