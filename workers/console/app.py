"""The process for operators, ``matricule ops``: metrics, and the place of the console, on a port of their own.

It listens on 127.0.0.1 unless it is told otherwise, and shares no port with the pages of people.
"""

from contextlib import suppress
from hmac import compare_digest

import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from workers.console.asking import SnapshotAsker
from workers.logs import configure_logs
from workers.ops.metrics import CONTENT_TYPE, write_metrics
from workers.settings import get_settings
from workers.web.readiness import alive, ready
from workers.web.server import BoundedProtocol, BoundedServer

STOP_SECONDS = 5

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def create_app() -> FastAPI:
    """Makes the application of the port for operators."""
    configure_logs(get_settings().log_level)
    app = FastAPI(title="Matricule for operators", openapi_url=None, redirect_slashes=False)
    app.state.asker = SnapshotAsker()
    app.add_api_route("/livez", alive, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/readyz", ready, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/metrics", show_metrics, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/ops", show_console, methods=["GET", "HEAD"], response_model=None)
    app.add_exception_handler(HTTPException, refuse_request)
    return app


async def show_metrics(request: Request) -> Response:
    """Answers with the metrics, also while PostgreSQL does not; asks for the token if one is set."""
    if not _may_read(request):
        refused = {"WWW-Authenticate": 'Bearer realm="metrics"'}
        return PlainTextResponse("this needs Authorization: Bearer METRICS_TOKEN\n", 401, HEADERS | refused)
    asker: SnapshotAsker = request.app.state.asker
    written = write_metrics(await asker.ask())
    return Response(written, headers=HEADERS | {"Content-Type": CONTENT_TYPE})


def _may_read(request: Request) -> bool:
    token = get_settings().metrics_token
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    right = compare_digest(given.strip().encode("latin-1", "replace"), token.encode())
    return not token or (scheme.lower() == "bearer" and right)


async def show_console() -> Response:
    """Holds the place of the console, which no user can open yet."""
    return PlainTextResponse(
        "There is no console yet: matricule status shows how it is, /metrics has it.\n", 200, HEADERS
    )


async def refuse_request(request: Request, error: Exception) -> Response:  # noqa: ARG001 - as Starlette calls it
    """Answers a request for another path, or by another method."""
    if not isinstance(error, HTTPException):
        raise error
    return PlainTextResponse(f"{error.detail}\n", error.status_code, {**HEADERS, **(error.headers or {})})


def make_server(host: str, port: int) -> BoundedServer:
    """Makes the HTTP server for operators, which trusts no proxy and logs no request."""
    config = uvicorn.Config(
        create_app(),
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        http=BoundedProtocol,
        ws="none",
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return BoundedServer(config)


def run() -> None:
    """Serves until SIGTERM or SIGINT."""
    settings = get_settings()
    server = make_server(settings.ops_host, settings.ops_port)
    server.beats_as = "ops"
    with suppress(KeyboardInterrupt, SystemExit):  # uvicorn raises SystemExit when it cannot listen
        server.run()
    if not server.started:
        raise SystemExit(1)
