"""The style sheet and the script of the console, under addresses that change with their content."""

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

FOLDER: Final = Path(__file__).parent / "static"

router = APIRouter()


class Asset(NamedTuple):
    """A file that browsers keep, with the beginning of its hash."""

    content: bytes
    kind: str
    version: str


def _read(name: str, kind: str) -> Asset:
    content = (FOLDER / name).read_bytes()
    return Asset(content, kind, hashlib.sha256(content).hexdigest()[:12])


ASSETS: Final = {
    "ops.css": _read("ops.css", "text/css; charset=utf-8"),
    "live.js": _read("live.js", "text/javascript; charset=utf-8"),
}


def asset_url(name: str) -> str:
    """Returns the address of a file of the console."""
    return f"/ops/static/{name}?v={ASSETS[name].version}"


@router.api_route("/ops/static/{name}", methods=["GET", "HEAD"], response_model=None)
async def show_asset(name: str) -> Response:
    """Answers with a file; browsers may keep it, because another content has another address."""
    if name not in ASSETS:
        raise HTTPException(404)
    asset = ASSETS[name]
    return Response(
        asset.content, media_type=asset.kind, headers={"Cache-Control": "private, max-age=31536000, immutable"}
    )
