"""The pages on files: inboxes with what waits in them, imports with their progress, and the rows that were refused."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, Final
from uuid import UUID, uuid4

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from models.ops_action import TYPED_FROM
from models.portal import LOCAL_PORTAL_ID
from models.words import JobState
from workers.audit import record
from workers.console.access.forms import posted
from workers.console.access.visitor import Operator, Reader, Support, Visitor
from workers.console.acting import back_to, has_typed
from workers.console.filters import WrongFilter, as_id, query_of, read_id, said
from workers.console.masking import hide_addresses
from workers.console.told import row_words
from workers.console.view import in_transaction, page, table
from workers.database import Session, autocommit, transaction
from workers.engine.acceptance import accept_internal, find_portal
from workers.engine.broker import wake
from workers.imports.reports import errors_file
from workers.ops.file_list import (
    ImportFacts,
    ImportsPage,
    InboxFacts,
    InboxFileFacts,
    list_imports,
    list_inbox_files,
    list_inboxes,
    read_import,
)
from workers.ops.schedules import change_schedule
from workers.requests.base import Request as AskedRequest
from workers.requests.imports import CancelImport, UndoImport

router = APIRouter()

INBOX_COLUMNS: Final = (
    *("portal", "reference", "contract", "policy", "paused", "scanned_at", "next_at", "trouble", "waiting", "refused"),
)
IMPORT_COLUMNS: Final = (
    *("id", "portal", "contract", "state", "dry_run", "rows", "rows_done", "percent", "counts", "created_at"),
    "finished_at",
)

INBOXES: Final = "inboxes"
"""The schedule that looks into the inboxes."""

_PIECE: Final = 1 << 16


@router.api_route("/ops/files", methods=["GET", "HEAD"], response_model=None)
async def show_files(request: Request, visitor: Reader) -> Response:
    """Lists inboxes with their files, and imports with their progress."""
    given = query_of(request)
    try:
        after = read_id(given, "after")
    except WrongFilter:
        raise HTTPException(400) from None
    inboxes, files, found = await in_transaction(_read_lists, after)
    columns = [tuple(getattr(one, name) for name in INBOX_COLUMNS) for one in inboxes]
    answer = table(request, visitor, "inboxes", INBOX_COLUMNS, columns) or table(
        request, visitor, "imports", IMPORT_COLUMNS, [_exported(one) for one in found.imports]
    )
    if answer is not None:
        return answer
    acted = said(given, "acted")
    return await page(
        request, visitor, "files.html", inboxes=inboxes, files=files, found=found, acted=acted, **row_words(visitor)
    )


def _read_lists(
    session: Session, after: UUID | None
) -> tuple[Sequence[InboxFacts], Mapping[UUID, list[InboxFileFacts]], ImportsPage]:
    return list_inboxes(session), list_inbox_files(session), list_imports(session, after=after)


def _exported(one: ImportFacts) -> tuple[object, ...]:
    counts = " ".join(f"{code}={number}" for code, number in one.counts.items())
    progress = one.progress
    return (
        *(one.id, one.portal, one.contract, one.state, one.dry_run, progress.rows, progress.rows_done),
        *(progress.percent, counts, one.created_at, one.finished_at),
    )


@router.api_route("/ops/files/{job_id}", methods=["GET", "HEAD"], response_model=None)
async def show_import(request: Request, visitor: Reader, job_id: UUID) -> Response:
    """Shows one import: what was understood of its file, how far it is, and what came of its rows."""
    found = await in_transaction(read_import, job_id)
    if found is None:
        raise HTTPException(404)
    counts = list(found.counts.items())
    if (answer := table(request, visitor, "counts", ("code", "rows"), counts)) is not None:
        return answer
    given = query_of(request)
    return await page(
        request,
        visitor,
        "import.html",
        one=found,
        progress=found.progress,
        understood=_understood(found.reading),
        may_cancel=found.finished_at is None and found.cancelled_at is None,
        typed_from=TYPED_FROM,
        may_undo=found.state == JobState.SUCCEEDED and not found.dry_run,
        acted=said(given, "acted"),
        job=as_id(said(given, "job")),
        **row_words(visitor),
    )


def _understood(reading: Mapping[str, object] | None) -> list[tuple[str, str]]:
    """Returns how a file was read, as names and plain words; nothing that its rows say."""
    said_of = reading or {}
    plain = [(name, str(said_of[name])) for name in ("kind", "encoding", "sheet") if said_of.get(name)]
    delimiter = {"\t": "tab"}.get(str(said_of.get("delimiter") or ""), str(said_of.get("delimiter") or ""))
    header = said_of.get("header")
    columns = [f"{name} = {one.get('header', '')}" for name, one in header.items()] if isinstance(header, dict) else []
    named = (("delimiter", delimiter), ("columns", hide_addresses(", ".join(columns))))
    return [*plain, *((name, value) for name, value in named if value)]


@router.get("/ops/files/{job_id}/errors.csv", response_model=None)
async def give_errors(_: Request, visitor: Support, job_id: UUID) -> Response:
    """Gives the rows of a file that were refused, as they were written, and records who took them."""
    file = await run_in_threadpool(_collect_errors, visitor, job_id)
    if file is None:
        raise HTTPException(404)
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.errors.csv"'}
    return StreamingResponse(_pieces(file), media_type="text/csv; charset=utf-8", headers=headers)


def _collect_errors(visitor: Visitor, job_id: UUID) -> BinaryIO | None:
    """Collects the refused rows of an import in a file; None when its file is kept no longer, or was not read."""
    with transaction() as session:
        found = read_import(session, job_id)
        if found is None or not found.kept or found.reading is None:
            return None
        record(session, "show_errors_file", portal_id=LOCAL_PORTAL_ID, requested_by=visitor.asker, job_id=job_id)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when it was sent
    with autocommit() as session:
        for line in errors_file(session, job_id, visitor.locale):
            file.write(line.encode("utf-8", "replace"))
    file.seek(0, os.SEEK_SET)
    return file


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


@router.post("/ops/files/scan", response_model=None)
async def scan(request: Request, visitor: Operator) -> Response:
    """Looks into every inbox now, beside the schedule."""
    await posted(request)
    answer = await in_transaction(
        change_schedule, INBOXES, "run", requested_by=visitor.asker, reason="look now, from the console"
    )
    return back_to("/ops/files", acted="scan" if answer == "done" else "not_scanned")


@router.post("/ops/files/{job_id}/cancel", response_model=None)
async def cancel(request: Request, visitor: Operator, job_id: UUID) -> Response:
    """Stops an import between two chunks; people enrolled so far stay enrolled."""
    await posted(request)
    found = await _known(job_id)
    job = await run_in_threadpool(_ask, CancelImport(job=job_id, requested_by=visitor.asker), found.portal)
    return back_to(f"/ops/files/{job_id}", acted="cancel", job=job)


@router.post("/ops/files/{job_id}/undo", response_model=None)
async def undo(request: Request, visitor: Operator, job_id: UUID) -> Response:
    """Withdraws the people whom an import enrolled, unless they have begun the training."""
    form = await posted(request)
    found = await _known(job_id)
    if found.progress.rows_done >= TYPED_FROM and not has_typed(form, found.progress.rows_done):
        return back_to(f"/ops/files/{job_id}", acted="not_typed")
    notify = said(dict(form), "notify") == "yes"
    asked = UndoImport(job=job_id, notify=notify, requested_by=visitor.asker)
    job = await run_in_threadpool(_ask, asked, found.portal)
    return back_to(f"/ops/files/{job_id}", acted="undo", job=job)


async def _known(job_id: UUID) -> ImportFacts:
    found = await in_transaction(read_import, job_id)
    if found is None:
        raise HTTPException(404)
    return found


def _ask(request: AskedRequest, portal: str) -> UUID:
    """Records a request in the name of a portal, and wakes its queue."""
    with transaction() as session:
        portal_id = find_portal(session, portal)
        body = request.model_dump_json(exclude_unset=True)
        accepted = accept_internal(session, portal_id, request, body, key=f"ops:{uuid4()}")
    wake(accepted.queue)
    return accepted.job_id
