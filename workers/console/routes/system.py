"""The page of the system: processes, schedules, pauses, the database, and the settings that matter."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from workers.console.access.visitor import Reader
from workers.console.routes.now import PROCESS_COLUMNS, process_cells
from workers.console.view import in_transaction, page, table
from workers.database import Session
from workers.engine.rollout import this_release
from workers.ops.past import SeenRelease, read_releases
from workers.ops.sizes import DatabaseServer, TableSize, read_server, read_sizes
from workers.settings import Settings, get_settings

SHOWN_SETTINGS: Final = (
    *("platform_name", "link_base_url", "message_id_domain", "certificate_store", "redis_namespace"),
    *("lease_seconds", "claim_size", "smtp_connections", "webhook_connections", "queue_message_days"),
    *("log_level", "ops_host", "ops_port", "ops_hosts", "trusted_proxies"),
)
"""The settings that are shown as they are: none of them holds a password."""

HIDDEN_SETTINGS: Final = ("link_keys", "portal_keys", "metrics_token", "ops_proxy_secret", "seal_pkcs12")
"""The settings of which only is said whether they are set."""

SCHEDULE_COLUMNS: Final = ("name", "kind", "cron", "last_run_at", "next_run_at", "paused")
SIZE_COLUMNS: Final = ("name", "rows", "table_bytes", "index_bytes", "dead_rows")

router = APIRouter()


@router.api_route("/ops/system", methods=["GET", "HEAD"], response_model=None)
async def show_system(request: Request, visitor: Reader) -> Response:
    """Shows processes, schedules, pauses, tables and settings."""
    snapshot = await request.app.state.asker.ask()
    server, sizes, releases = await in_transaction(_read)
    return (
        table(request, visitor, "processes", PROCESS_COLUMNS, process_cells(snapshot))
        or table(request, visitor, "schedules", SCHEDULE_COLUMNS, _schedule_cells(snapshot))
        or table(request, visitor, "tables", SIZE_COLUMNS, sizes)
        or await page(
            request,
            visitor,
            "system.html",
            snapshot=snapshot,
            server=server,
            sizes=sizes,
            releases=releases,
            settings=shown_settings(get_settings()),
            hidden=[(name.upper(), bool(getattr(get_settings(), name))) for name in HIDDEN_SETTINGS],
        )
    )


def _read(session: Session) -> tuple[DatabaseServer, list[TableSize], list[SeenRelease]]:
    return read_server(session), read_sizes(session), read_releases(session, "90d")


def _schedule_cells(snapshot: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(one[key] for key in SCHEDULE_COLUMNS) for one in snapshot["schedules"]]


def shown_settings(settings: Settings) -> list[tuple[str, str]]:
    """Returns the names and values of the settings that are shown; of addresses of servers only host and port."""
    servers = [(name.upper(), server_of(str(getattr(settings, name)))) for name in ("smtp_url", "redis_url")]
    values = [(name.upper(), str(getattr(settings, name))) for name in SHOWN_SETTINGS]
    return [("release", this_release()), *servers, *values]


def server_of(url: str) -> str:
    """Returns the hosts and ports of a URL, without user, password, path and options."""
    try:
        place = urlsplit(url).netloc
    except ValueError:
        return ""
    return place.rpartition("@")[2]
