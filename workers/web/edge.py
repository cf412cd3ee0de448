"""The outermost edge of the web process: headers on every answer, and an answer to every error."""

from collections.abc import Callable
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.database import is_transient
from workers.errors import Transient, cannot_read
from workers.logs import get_logger
from workers.web.rendering import POLICY

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers for every answer, because URLs contain tokens: no caching, indexing, framing or referrer."""

log = get_logger("web")

Answer = Callable[[Request, int], Response]


class ErrorEdge:
    """An ASGI middleware that adds the headers and answers every error.

    Parameters:
      answer: makes the page for an error, from the status 503 (a transient fault, or a word that only a newer release
        knows: try again) or 500 (a bug).
    """

    def __init__(self, app: ASGIApp, answer: Answer) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; it raises nothing to the server, because the server would log the URL with its token."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_safely(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            await self._app(scope, receive, send_safely)
        except ClientDisconnect:
            log.info("client.left", method=scope["method"])
        except Exception as error:
            later = isinstance(error, Transient) or is_transient(error) or cannot_read(error)
            status = 503 if later else 500
            log.exception("request.failed", method=scope["method"], status=status, exc_info=error)
            if not begun:
                await self._answer(Request(scope, receive), status)(scope, receive, send_safely)
