"""The process for operators, ``matricule ops``: the console and the metrics, on a port of their own.

It listens on 127.0.0.1 unless it is told otherwise, and shares no port with the pages of people.
"""

from contextlib import suppress
from hmac import compare_digest

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from workers.console import assets
from workers.console.access.sign_ins import SignIns
from workers.console.answers import REFUSALS, answer_fault
from workers.console.asking import SnapshotAsker
from workers.console.edge import ConsoleEdge, is_public
from workers.console.routes import ROUTERS
from workers.logs import configure_logs, get_logger
from workers.ops.metrics import CONTENT_TYPE, write_metrics
from workers.settings import Settings, get_settings
from workers.web.readiness import alive, ready
from workers.web.server import BoundedProtocol, BoundedServer

STOP_SECONDS = 5


def create_app() -> FastAPI:
    """Makes the application of the port for operators."""
    configure_logs(get_settings().log_level)
    app = FastAPI(title="Matricule for operators", openapi_url=None, redirect_slashes=False)
    app.state.asker = SnapshotAsker()
    app.state.sign_ins = SignIns()
    app.add_api_route("/livez", alive, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/readyz", ready, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/metrics", show_metrics, methods=["GET", "HEAD"], response_model=None)
    for router in (assets.router, *ROUTERS):
        app.include_router(router)
    for kind, answer in REFUSALS.items():
        app.add_exception_handler(kind, answer)
    app.add_middleware(ConsoleEdge, answer=answer_fault)
    return app


async def show_metrics(request: Request) -> Response:
    """Answers with the metrics, also while PostgreSQL does not; asks for the token if one is set."""
    if not _may_read(request):
        refused = {"WWW-Authenticate": 'Bearer realm="metrics"'}
        return PlainTextResponse("this needs Authorization: Bearer METRICS_TOKEN\n", 401, refused)
    asker: SnapshotAsker = request.app.state.asker
    written = write_metrics(await asker.ask())
    return Response(written, headers={"Content-Type": CONTENT_TYPE})


def _may_read(request: Request) -> bool:
    token = get_settings().metrics_token
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    right = compare_digest(given.strip().encode("latin-1", "replace"), token.encode())
    return not token or (scheme.lower() == "bearer" and right)


def make_server(host: str, port: int) -> BoundedServer:
    """Makes the HTTP server for operators, which logs no request.

    Of a proxy in TRUSTED_PROXIES it believes the address of the browser, and that it came by https.
    """
    config = uvicorn.Config(
        create_app(),
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
    return BoundedServer(config)


def warn_if_open(settings: Settings) -> None:
    """Says in the log that other machines can read the metrics without a token."""
    if is_public(settings.ops_host) and not settings.metrics_token:
        get_logger("console").warning(
            "metrics.open", host=settings.ops_host, cure="set METRICS_TOKEN, or OPS_HOST to 127.0.0.1"
        )


def run() -> None:
    """Serves until SIGTERM or SIGINT."""
    settings = get_settings()
    server = make_server(settings.ops_host, settings.ops_port)
    server.beats_as = "ops"
    warn_if_open(settings)
    with suppress(KeyboardInterrupt, SystemExit):  # uvicorn raises SystemExit when it cannot listen
        server.run()
    if not server.started:
        raise SystemExit(1)
