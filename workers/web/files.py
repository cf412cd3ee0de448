"""The address ``/files/{token}`` of a file of duplicates; it can be fetched any number of times until it expires."""

from typing import Final
from urllib.parse import quote

from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from models.words import Code
from workers.certificates.duplicates.fetching import pieces
from workers.certificates.duplicates.files import DuplicateFile, find_by_token
from workers.database import transaction
from workers.security.tokens import SigningKeys
from workers.web.rendering import asked_locale, note

router = APIRouter()

TYPES: Final = {"pdf": "application/pdf", "zip": "application/zip"}

REFUSALS: Final = {
    Code.INVALID_LINK: ("invalid_file", 404),
    Code.EXPIRED_LINK: ("expired_file", 410),
    Code.CERTIFICATE_REVOKED: ("revoked_file", 410),
}


@router.api_route("/files/{token}", methods=["GET", "HEAD"], response_model=None)
async def send_file(request: Request, token: str) -> Response:
    """Sends the document or the zip; a link that is unknown or has expired gets a page instead."""
    file = await to_thread.run_sync(_find, request.app.state.keys, token)
    if isinstance(file, Code):
        name, status = REFUSALS[file]
        return note(name, asked_locale(request), status=status)
    if request.method == "HEAD":
        return Response(headers=_headers(file, file.size), media_type=TYPES[file.kind])
    content = await to_thread.run_sync(pieces, file)
    if content is None:
        return note("lost_file", asked_locale(request), status=410)
    return StreamingResponse(content.pieces, headers=_headers(file, content.size), media_type=TYPES[file.kind])


def _find(keys: SigningKeys, token: str) -> DuplicateFile | Code:
    with transaction() as session:
        return find_by_token(session, keys, token)


def _headers(file: DuplicateFile, size: int) -> dict[str, str]:
    named = f'attachment; filename="{quote(file.name, safe=".-_")}"'
    return {"Content-Disposition": named, "Content-Length": str(size)}
