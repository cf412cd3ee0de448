"""The outermost edge of the console: which hosts it answers to, headers on every answer, an answer to every error."""

import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.database import is_transient
from workers.errors import Transient, cannot_read
from workers.logs import get_logger
from workers.settings import get_settings

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: our own script and style sheet, forms that post to this site, no frames."""

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of every answer that has no other value for them."""

log = get_logger("console")

Answer = Callable[[Request, int], Awaitable[Response]]


class ConsoleEdge:
    """An ASGI middleware around the console.

    Parameters:
      answer: makes the page for an error, from the status 503 (a transient fault: try again) or 500 (a bug).
    """

    def __init__(self, app: ASGIApp, answer: Answer) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; it raises nothing to the server, because the server would log the URL."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_safely(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope, receive)
        try:
            if _is_console(scope) and not is_known_host(request.headers.get("host", "")):
                await _unknown_host()(scope, receive, send_safely)
                return
            await self._app(scope, receive, send_safely)
        except ClientDisconnect:
            log.info("client.left", method=scope["method"])
        except Exception as error:
            later = isinstance(error, Transient) or is_transient(error) or cannot_read(error)
            status = 503 if later else 500
            log.exception("request.failed", method=scope["method"], status=status, exc_info=error)
            if not begun:
                await (await self._answer(request, status))(scope, receive, send_safely)


def is_known_host(host: str) -> bool:
    """Tells whether the console answers to this Host: a foreign name could be one that leads a browser here.

    An address is no name, so no other site has it; localhost and the name of this machine are known, others stand in
    OPS_HOSTS.
    """
    name = _without_port(host.strip().lower())
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        settings = get_settings()
        known = {settings.ops_host.lower(), socket.gethostname().lower(), *settings.ops_hosts.split(",")}
        return bool(name) and name in known
    return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_console(scope: Scope) -> bool:
    path: str = scope.get("path", "")
    return path == "/ops" or path.startswith("/ops/")


def _unknown_host() -> Response:
    return PlainTextResponse(
        "The console does not answer under this name. Put it into OPS_HOSTS if it is yours (docs/ops/console.md).\n",
        421,
    )


def is_public(host: str) -> bool:
    """Tells whether other machines can reach a server that listens at this address."""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host.lower() != "localhost"


__all__ = ["HEADERS", "POLICY", "ConsoleEdge", "is_known_host", "is_public"]
