"""Receives the webhooks of Matricule, and tells an open page whether something happened on its contract."""

from typing import Final

from anyio.from_thread import run
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scripts.portal.forms import BadForm
from scripts.portal.site import site_of
from scripts.portal.visitors import signed_in
from workers.portal_client import WebhookRefused, verify_webhook

MOST_BYTES: Final = 200_000


def receive(request: Request) -> Response:
    """Notes an event; a wrong signature gets 400, and nothing is noted."""
    site = site_of(request)
    if not site.settings.webhook_secrets:
        return Response(status_code=404)
    try:
        body = run(_body, request)
        webhook = verify_webhook(site.settings.webhook_secrets, request.headers, body)
    except (WebhookRefused, BadForm):
        return Response(status_code=400)
    contract = webhook.data.get("contract")
    site.freshness.note(webhook.id, contract if isinstance(contract, str) else None)
    return Response(status_code=204)


async def _body(request: Request) -> bytes:
    """Reads the bytes as they arrived, up to a size."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise BadForm("too large")
    return bytes(body)


def freshness(request: Request) -> Response:
    """Says the version of the contract that is shown: another one than before means that the page is old."""
    visitor = signed_in(request)
    version = site_of(request).freshness.version(visitor.contract)
    return JSONResponse({"version": version}, headers={"Cache-Control": "no-store"})


ROUTES: Final = [
    Route("/webhooks", receive, methods=["POST"]),
    Route("/fraicheur", freshness, methods=["GET"]),
]
