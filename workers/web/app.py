"""The web process: ``matricule serve``."""

from contextlib import suppress

import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workers.api.app import PREFIX, Api
from workers.api.operations import OPERATIONS
from workers.errors import NotConfigured
from workers.logs import configure_logs
from workers.portals.limits import LIMITS
from workers.portals.use import USE
from workers.security.tokens import SigningKeys
from workers.settings import get_settings
from workers.web import certificates, files, links
from workers.web.answers import busy
from workers.web.edge import ErrorEdge
from workers.web.readiness import alive, ready
from workers.web.rendering import asked_locale, note
from workers.web.server import BoundedProtocol, BoundedServer

STOP_SECONDS = 10


def create_app() -> FastAPI:
    """Makes the web application.

    Raises:
      NotConfigured: ``LINK_KEYS`` is missing or cannot be read, or the platform has no name for the pages; the process
        then fails when it starts and not at the first link.
    """
    # Logs come first: an exception printed with its local variables would show a token.
    configure_logs(get_settings().log_level)
    # A redirect to add or remove a slash would put the host of the request and the token in its Location.
    app = FastAPI(title="Matricule", openapi_url=None, redirect_slashes=False)
    if not get_settings().platform_name:
        raise NotConfigured("MAIL_FROM is empty: give it the name and address mails come from, Name <address>")
    app.state.keys = SigningKeys.parse(get_settings().link_keys)
    app.include_router(links.router)
    app.include_router(certificates.router)
    app.include_router(files.router)
    app.add_api_route("/livez", alive, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/readyz", ready, methods=["GET", "HEAD"], response_model=None)
    app.add_exception_handler(HTTPException, refuse_request)
    app.add_middleware(ErrorEdge, answer=answer_error)
    app.state.api = Api(OPERATIONS)
    app.state.hashing = app.state.api.services.hashing  # the pages hash passwords too
    app.add_middleware(ApiDoor, api=app.state.api)  # outside of the edge of the pages: it answers errors otherwise
    return app


class ApiDoor:
    """An ASGI middleware that hands everything under ``/v1`` to the API."""

    def __init__(self, app: ASGIApp, api: Api) -> None:
        self._app = app
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        path = scope.get("path", "")
        ours = scope["type"] == "http" and (path == PREFIX or path.startswith(f"{PREFIX}/"))
        await (self._api if ours else self._app)(scope, receive, send)


async def refuse_request(request: Request, error: Exception) -> Response:
    """Answers with a page when no route accepts the request."""
    if not isinstance(error, HTTPException):
        raise error
    name = "not_found" if error.status_code == 404 else "invalid_request"
    answer = note(name, asked_locale(request), status=error.status_code)
    answer.headers.update(error.headers or {})
    return answer


def answer_error(request: Request, status: int) -> Response:
    """Answers with a page for an error of the server: 503 (try again) or 500."""
    return busy(request) if status == 503 else note("failed", asked_locale(request), status=status)


def make_server(host: str, port: int) -> BoundedServer:
    """Makes the HTTP server of the application, without an access log, because URLs contain tokens."""
    app = create_app()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        forwarded_allow_ips=get_settings().trusted_proxies,
        http=BoundedProtocol,
        ws="none",
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = BoundedServer(config, at_end=_close_portals)
    app.state.api.is_stopping = lambda: server.should_exit
    return server


def _close_portals() -> None:
    """Writes and settles what was noted of the calls of portals."""
    USE.close()
    LIMITS.close()


def run() -> None:
    """Serves until SIGTERM or SIGINT."""
    settings = get_settings()
    server = make_server(settings.host, settings.port)
    server.beats_as = "web"
    with suppress(KeyboardInterrupt, SystemExit):  # uvicorn raises SystemExit when it cannot listen
        server.run()
    if not server.started:
        raise SystemExit(1)
