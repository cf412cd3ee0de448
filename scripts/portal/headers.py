"""The headers of each answer, and the names under which the site answers."""

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import FormData, Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}

HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""The names of this machine; under another name a page of another site could read ours (DNS rebinding)."""


class Guard:
    """An ASGI middleware that refuses other names of the host, and adds the headers to each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        if _host(Headers(scope=scope).get("host", "")) not in HOSTS:
            await PlainTextResponse("127.0.0.1\n", 421)(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, receive, send_guarded)
        finally:
            form = scope.get("state", {}).get("form")
            if isinstance(form, FormData):
                await form.close()  # the file in it, which is on this host while the form is handled


def _host(header: str) -> str:
    name, colon, port = header.rpartition(":")
    return name if colon and port.isdecimal() else header
