"""The first page of the console: what needs a person now, and how queues, processes and the relay are."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from workers.console.access.visitor import Reader
from workers.console.asking import SnapshotAsker
from workers.console.problems import shown_problems
from workers.console.queue_rows import COLUMNS, queue_rows
from workers.console.view import in_transaction, page, table
from workers.database import Session
from workers.engine.ledger import EMAILS
from workers.ops.flows import MINUTES, QueueFlow, read_flows
from workers.ops.mail_results import MailResults, read_mail_results

NEXT_SCHEDULES: Final = 5

PROCESS_COLUMNS: Final = (
    *("serves", "release", "host", "pid", "age_seconds", "seen_seconds_ago", "trouble", "circuit_seconds"),
    "circuit_reason",
)
"""The columns of the table of processes for programs."""

router = APIRouter()


@router.api_route("/ops", methods=["GET", "HEAD"], response_model=None)
async def show_now(request: Request, visitor: Reader) -> Response:
    """Shows what needs a person now; without a database, that it is away: the page itself works, so it says 200."""
    asker: SnapshotAsker = request.app.state.asker
    snapshot = await asker.ask()
    problems = shown_problems(snapshot["problems"])
    if snapshot["database"] is None:
        return await page(request, visitor, "now_away.html", snapshot=snapshot, problems=problems)
    flows, mails = await in_transaction(_read)
    rows = queue_rows(snapshot, flows)
    told = table(request, visitor, "queues", COLUMNS, [row.cells() for row in rows]) or table(
        request, visitor, "processes", PROCESS_COLUMNS, process_cells(snapshot)
    )
    return told or await page(
        request, visitor, "now.html", snapshot=snapshot, problems=problems, rows=rows, mails=mails,
        well=well(snapshot, sum(1 for row in rows if not row.outlook.code.needs_person)),
        schedules=next_schedules(snapshot)[:NEXT_SCHEDULES],
    )  # fmt: skip


def _read(session: Session) -> tuple[dict[str, QueueFlow], MailResults]:
    return read_flows(session), read_mail_results(session, EMAILS.table, MINUTES)


def process_cells(snapshot: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Returns the values of ``PROCESS_COLUMNS`` of all processes."""
    found = (*snapshot["processes"], *snapshot["silent"])
    return [tuple(one["kind" if key == "serves" else key] for key in PROCESS_COLUMNS) for one in found]


def next_schedules(snapshot: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the schedules that are not paused, the next one first."""
    planned = [one for one in snapshot["schedules"] if one["next_run_at"] and not one["paused"]]
    return sorted(planned, key=lambda one: (one["next_run_at"], one["name"]))


def well(snapshot: Mapping[str, Any], keep_up: int) -> list[tuple[str, dict[str, Any]]]:
    """Returns what is well: the keys of sentences, after ``now.well.``, and their values."""
    codes = {problem["code"] for problem in snapshot["problems"]}
    found: list[tuple[str, dict[str, Any]]] = [("database", {"age": snapshot["database"]["snapshot_seconds"]})]
    if not codes & {"no_redis", "redis_refuses", "redis_evicts", "redis_forgets"}:
        found.append(("redis", {}))
    if keep_up:
        found.append(("queues", {"n": keep_up}))
    if snapshot["processes"] and not codes & {"silent_process", "stuck_process", "deaf_process"}:
        found.append(("processes", {"n": len(snapshot["processes"])}))
    if snapshot["relays"] and not codes & {"relay_refuses", "relay_rests"}:
        found.append(("relay", {}))
    reconciled = snapshot["reconciled"]
    if reconciled and not reconciled["contracts"] and "seats_not_compared" not in codes:
        found.append(("seats", {"n": snapshot["contract_count"], "at": reconciled["at"]}))
    if snapshot["clock"] and snapshot["clock"]["host"]:
        found.append(("clock", {"host": snapshot["clock"]["host"], "lag": snapshot["clock_lag_seconds"] or 0.0}))
    return found
