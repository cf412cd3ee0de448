"""The pages of the queues: which wait for whom, why one is slow, and the forms that pause it and let it go on."""

from datetime import timedelta
from typing import Any, Final, NamedTuple

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.counts import quantile
from models.label import clean_reason
from models.queue_pause import PauseRefusal
from models.words import Code
from workers.console.access.forms import posted
from workers.console.access.visitor import Operator, Reader, Visitor
from workers.console.queue_rows import COLUMNS, QueueRow, queue_rows
from workers.console.view import in_transaction, page, table
from workers.database import Session
from workers.engine.broker import wake
from workers.ops.capped import CAPS
from workers.ops.flows import QueueFlow, no_flow, read_flows, read_waits
from workers.ops.lanes import LongLane, RunningWork, read_lanes, read_running
from workers.ops.pauses import PauseTarget, pause_queue, read_pauses, resume_queue
from workers.requests.queues import Queue

WINDOWS: Final = (("minutes15", 15), ("hour", 60), ("day", 1_440))
"""The times over which waits are shown, in minutes."""

DURATIONS: Final = {
    "m30": timedelta(minutes=30),
    "h2": timedelta(hours=2),
    "h8": timedelta(hours=8),
    "d1": timedelta(days=1),
    "d3": timedelta(days=3),
    "d7": timedelta(days=7),
}
"""The times for which the form pauses."""

IN_WORDS: Final = {"m30": "30min", "h2": "2h", "h8": "8h", "d1": "1d", "d3": "3d", "d7": "7d"}

LANE_COLUMNS: Final = ("lane", "name", "portal", "waiting", "oldest")
RUNNING_COLUMNS: Final = ("id", "ledger", "kind", "started_at", "leased_until", "host", "pid")

router = APIRouter()


class QueueReading(NamedTuple):
    """The facts of the page of a queue.

    Parameters:
      pauses: in force now; the snapshot may be of a moment ago.
      waits: for each of ``WINDOWS``: how much ended, and the seconds within which half and 95 % of it had begun.
    """

    flow: QueueFlow
    waits: list[tuple[str, int, float | None, float | None]]
    lanes: list[LongLane]
    running: list[RunningWork]
    pauses: list[dict[str, Any]]


@router.api_route("/ops/queues", methods=["GET", "HEAD"], response_model=None)
async def show_queues(request: Request, visitor: Reader) -> Response:
    """Shows all queues."""
    snapshot = await request.app.state.asker.ask()
    flows = await in_transaction(read_flows)
    rows = queue_rows(snapshot, flows)
    told = table(request, visitor, "queues", COLUMNS, [row.cells() for row in rows])
    return told or await page(request, visitor, "queues.html", snapshot=snapshot, rows=rows)


@router.api_route("/ops/queues/{name}", methods=["GET", "HEAD"], response_model=None)
async def show_queue(request: Request, visitor: Reader, name: str) -> Response:
    """Shows a queue: its last hour, its longest lanes, what runs, its pauses."""
    queue, done = _known(name), request.query_params.get("done", "")
    return await _queue_page(request, visitor, queue, done=done if done in ("paused", "resumed") else "")


@router.post("/ops/queues/{name}/pause", response_model=None)
async def pause(request: Request, visitor: Operator, name: str) -> Response:
    """Pauses a queue, or a lane of it."""
    form, queue = await posted(request), _known(name)
    lasting, reason = DURATIONS.get(_text(form, "for")), clean_reason(_text(form, "reason"))
    if lasting is None or isinstance(reason, Code):
        wrong = "no_duration" if lasting is None else "reason"
        return await _queue_page(request, visitor, queue, status=400, wrong=wrong, form=form)
    answer = await in_transaction(
        pause_queue, _target(queue, form), end=lasting, requested_by=visitor.asker, reason=reason
    )
    if isinstance(answer, PauseRefusal):
        return await _queue_page(request, visitor, queue, status=409, wrong=answer.value, form=form)
    return RedirectResponse(f"/ops/queues/{queue}?done=paused", 303)


@router.post("/ops/queues/{name}/resume", response_model=None)
async def resume(request: Request, visitor: Operator, name: str) -> Response:
    """Ends a pause of a queue, or of a lane of it, and wakes its consumers."""
    form, queue = await posted(request), _known(name)
    reason = clean_reason(_text(form, "reason"))
    if isinstance(reason, Code):
        return await _queue_page(request, visitor, queue, status=400, wrong="reason", form=form)
    refused = await in_transaction(resume_queue, _target(queue, form), requested_by=visitor.asker, reason=reason)
    if refused is not None:
        return await _queue_page(request, visitor, queue, status=409, wrong=refused.value, form=form)
    await run_in_threadpool(wake, queue)
    return RedirectResponse(f"/ops/queues/{queue}?done=resumed", 303)


async def _queue_page(
    request: Request, visitor: Visitor, queue: str, *, status: int = 200, form: FormData | None = None, **values: Any
) -> Response:
    read = await in_transaction(_read, queue)
    snapshot = await request.app.state.asker.ask() | {"pauses": read.pauses}
    told = _tables(request, visitor, read) if request.method != "POST" else None
    if told is not None:
        return told
    shown = {"wrong": "", "done": ""} | values
    return await page(
        request,
        visitor,
        "queue.html",
        status=status,
        snapshot=snapshot,
        row=_row(snapshot, queue, read.flow),
        read=read,
        pauses=[one for one in read.pauses if one["queue"] == queue],
        durations=tuple(DURATIONS),
        in_words=IN_WORDS,
        looked_at=CAPS.rows,
        typed={field: _text(form, field) for field in ("for", "reason", "lane", "portal")},
        path=f"/ops/queues/{queue}",
        **shown,
    )


def _tables(request: Request, visitor: Visitor, read: QueueReading) -> Response | None:
    lanes = [(one.lane, one.name, one.portal, one.waiting, one.oldest) for one in read.lanes]
    running = [
        (one.id, one.ledger, one.kind, one.started_at, one.leased_until, one.host, one.pid) for one in read.running
    ]
    return table(request, visitor, "lanes", LANE_COLUMNS, lanes) or table(
        request, visitor, "running", RUNNING_COLUMNS, running
    )


def _row(snapshot: dict[str, Any], queue: str, flow: QueueFlow) -> QueueRow | None:
    return next((row for row in queue_rows(snapshot, {queue: flow}) if row.name == queue), None)


def _read(session: Session, queue: str) -> QueueReading:
    waits = []
    for key, minutes in WINDOWS:
        bands = read_waits(session, queue, minutes)
        waits.append((key, sum(bands), quantile(bands, 0.5), quantile(bands, 0.95)))
    flow = read_flows(session, queue).get(queue) or no_flow()
    lanes, running = read_lanes(session, queue), read_running(session, queue)
    return QueueReading(flow, waits, lanes, running, read_pauses(session, CAPS))


def _known(name: str) -> str:
    if name not in [*Queue]:
        raise HTTPException(404)
    return name


def _target(queue: str, form: FormData) -> PauseTarget:
    lane = _text(form, "lane")
    return PauseTarget(queue, (lane,) if lane else (), _text(form, "portal") or "local")


def _text(form: FormData | None, field: str) -> str:
    value = form.get(field, "") if form is not None else ""
    return value.strip() if isinstance(value, str) else ""
