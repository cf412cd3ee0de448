"""« Import CSV »: a file is tried, shown, imported, reported and undone. Each import has an address of its own."""

import hashlib
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Final, cast
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from scripts.portal.answers import see_other
from scripts.portal.forms import Form, read_form
from scripts.portal.import_plans import plan_of, reading_of, whole_refusal
from scripts.portal.imported_rows import accented_names, read_rows
from scripts.portal.moments import PARIS, in_paris, now
from scripts.portal.persons import closed_because
from scripts.portal.routes.adding import mail_words
from scripts.portal.site import site_of
from scripts.portal.view import page
from scripts.portal.visitors import Visitor, signed_in
from workers.portal_client import Job, NotAccepted, PortalError

IMPORT: Final = "/participants/import"

KIND: Final = "import_roster"
UNDO: Final = "undo_import"

MOST_MEGABYTES: Final = 200
FORM_BYTES: Final = 100_000
"""Bytes that a form has around its file."""

FIRST_LOOK: Final = 0.1
LOOK_SECONDS: Final = 1.0
"""Seconds for which a page waits for an import, before it is shown and looks again."""

RECENT: Final = 5
LOOKED_AT: Final = 20
"""The latest imports and dry runs of the company that are looked at, to find the imports of the contract."""

ROWS_PREVIEWED: Final = 20
"""The rows of each kind on a preview: the decision is below them."""

PIECE: Final = 1 << 16
IN_MEMORY: Final = 1 << 20

MODELS: Final = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

FILE_PROBLEMS: Final = frozenset({"too_large", "empty_file", "unsupported_format"})


def ask(request: Request) -> Response:
    """Shows where to drop a file, the model to fill in, and the latest imports."""
    return _asked(request, signed_in(request))


def imports(request: Request) -> Response:
    """Shows the latest imports of the contract."""
    visitor = signed_in(request)
    return page(request, "imports.html", recent=_recent(request, visitor))


def _asked(request: Request, visitor: Visitor, status: int = 200, refused: str | None = None) -> Response:
    closed = closed_because(visitor.counters(), now().date())
    recent = _recent(request, visitor)
    return page(
        request, "import.html", status=status, refused=refused, closed=closed, recent=recent, most=MOST_MEGABYTES
    )


def _recent(request: Request, visitor: Visitor) -> list[Job]:
    """Returns the latest imports of the contract."""
    portal, ended = visitor.portal, site_of(request).ended_imports
    latest = [ended.report(portal, one) for one in islice(portal.jobs(kind=KIND), LOOKED_AT)]
    return [one for one in latest if not told(one, "dry_run") and told(one, "contract") == visitor.contract][:RECENT]


def told(report: object, name: str) -> Any:
    """Returns a field that only the report of an import has; None when it has none."""
    return getattr(report, name, None)


def send(request: Request) -> Response:
    """Sends the file to Matricule as a dry run, and leads to what it would do."""
    visitor = signed_in(request)
    form = read_form(request, most_bytes=MOST_MEGABYTES * 1_000_000 + FORM_BYTES)
    file = form.file("file")
    if file is None:
        return _asked(request, visitor, 422, refused="no_file")
    try:
        job = visitor.portal.upload_roster(
            visitor.contract,
            file.file,
            key=_file_key(form, file),
            filename=file.filename or "participants.csv",
            dry_run=True,
            policy="until_full",
            report_locale=visitor.language,
        )
    except NotAccepted as problem:
        codes = {problem.code, *(fault.code for fault in problem.faults)} & FILE_PROBLEMS
        if not codes:
            raise
        return _asked(request, visitor, 422, refused=min(codes))
    return see_other(f"{IMPORT}/{job.id}")


def _file_key(form: Form, file: UploadFile) -> str:
    """Returns the key of a form with its file: sent twice it is one job, and with another file it is another one."""
    digest = hashlib.blake2b(repr(file.filename).encode(), digest_size=8)
    file.file.seek(0)
    while piece := file.file.read(PIECE):
        digest.update(piece)
    file.file.seek(0)
    return f"{form.key}-{digest.hexdigest()}"


def show(request: Request) -> Response:
    """Shows an import or a dry run as it is now: under way, what it would do, what it has done, or why it was refused.

    A page of one that is under way loads itself again.
    """
    visitor, report = _visited(request)
    report = _waited_for(visitor, report)
    reading = reading_of(report)
    if not report.finished:
        return page(request, "import_running.html", report=report, reading=reading, headers={"Refresh": "1"})
    plan = plan_of(report, visitor.counters(fresh=True).remaining)
    if report.state == "dead" or (refused := whole_refusal(report)) is not None:
        code = "internal_error" if report.state == "dead" else refused
        return page(request, "import_refused.html", report=report, code=code)
    if told(report, "dry_run"):
        return _preview(request, visitor, report, plan=plan, reading=reading)
    return _report(request, visitor, report, plan=plan)


def _waited_for(visitor: Visitor, report: Job) -> Job:
    """Waits a moment for an import; its report says less than its job, and is read in no time."""
    until, pause = time.monotonic() + LOOK_SECONDS, FIRST_LOOK
    while not report.finished and time.monotonic() + pause < until:
        time.sleep(pause)
        report, pause = visitor.portal.roster(report), pause * 2
    return report


def _visited(request: Request) -> tuple[Visitor, Job]:
    """Returns the manager and an import of their company; the page then has the counters of its contract."""
    visitor = signed_in(request)
    report = visitor.portal.roster(request.path_params["job"])
    visitor.contract = str(told(report, "contract"))
    return visitor, report


def _preview(request: Request, visitor: Visitor, report: Job, **more: Any) -> Response:
    """Shows what an import would do."""
    plan, reading = more["plan"], more["reading"]
    portal, most = visitor.portal, ROWS_PREVIEWED
    wrong = read_rows(portal, report, only="to_correct", most=most) if plan.wrong else None
    right = read_rows(portal, report, only="accepted", most=most) if plan.joining or plan.known else None
    names = accented_names([*(right.rows if right else ()), *(wrong.rows if wrong else ())])
    if not names and reading.has_accents:  # further down in the file
        names = accented_names(read_rows(portal, report, only="accented").rows)
    left = told(report.result, "remaining")
    return page(
        request,
        "import_preview.html",
        report=report,
        wrong=wrong,
        right=right,
        names=names,
        seen=plan.remaining if left is None else left,
        stale=left is not None and plan.is_stale(left),
        **more,
    )


def _report(request: Request, visitor: Visitor, report: Job, **more: Any) -> Response:
    """Shows what an import has done, line by line."""
    plan = more["plan"]
    wrong = read_rows(visitor.portal, report, only="to_correct") if plan.wrong else None
    rows = read_rows(visitor.portal, report)
    finished = report.finished_at or datetime.now(PARIS)
    return page(
        request,
        "import_report.html",
        report=report,
        wrong=wrong,
        rows=rows,
        mails=mail_words(request, visitor),
        finished_today=in_paris(finished).date() == now().date(),
        seconds=max(1, round((finished - (report.started_at or finished)).total_seconds())),
        **more,
    )


def rows(request: Request) -> Response:
    """Shows the lines of a file page by page, all of them or those to correct."""
    visitor, report = _visited(request)
    query = request.query_params
    only = "to_correct" if query.get("seulement") == "a-corriger" else None
    found = read_rows(visitor.portal, report, only=only, cursor=query.get("suite"))
    plan = plan_of(report, visitor.counters().remaining)
    return page(
        request,
        "import_rows.html",
        report=report,
        rows=found,
        only=only,
        first="suite" not in query,
        plan=plan,
        mails=mail_words(request, visitor),
    )


def start(request: Request) -> Response:
    """Does what a dry run has shown: once, however often its button is pressed."""
    visitor, tried = _visited(request)
    form = read_form(request)
    if form.text("choice") == "correct":
        return see_other(IMPORT)
    if form.text("choice") == "wait":
        return see_other(f"{IMPORT}/{tried.id}")
    policy = "until_full" if form.text("policy") == "until_full" else "valid_rows"
    try:
        job = visitor.portal.import_kept_roster(tried, key=f"import-{tried.id}-{policy}", policy=policy)
    except PortalError as problem:
        if problem.code != "not_kept":
            raise
        return page(request, "import_refused.html", status=410, report=tried, code=problem.code)
    return see_other(f"{IMPORT}/{job.id}")


def check_again(request: Request) -> Response:
    """Tries the file again, because the seats have changed."""
    visitor, tried = _visited(request)
    form = read_form(request)
    job = visitor.portal.import_kept_roster(tried, key=form.key, dry_run=True, policy="until_full")
    return see_other(f"{IMPORT}/{job.id}")


def stop(request: Request) -> Response:
    """Stops an import that is under way; people enrolled so far stay enrolled."""
    visitor, report = _visited(request)
    form = read_form(request)
    job = visitor.portal.cancel_import(report, key=form.key)
    visitor.portal.wait_for(job, seconds=LOOK_SECONDS)
    return see_other(f"{IMPORT}/{report.id}")


def ask_undo(request: Request) -> Response:
    """Shows which seats come back when an import is undone, and who keeps theirs."""
    visitor, report = _visited(request)
    if told(report, "dry_run") or not report.finished:
        return see_other(f"{IMPORT}/{report.id}")
    outlook = visitor.portal.roster_undo(report)
    return page(request, "import_undo.html", report=report, outlook=outlook)


def undo(request: Request) -> Response:
    """Withdraws the people that an import has enrolled, unless they have begun."""
    visitor, report = _visited(request)
    form = read_form(request)
    job = visitor.portal.undo_import(report, key=form.key, notify=form.ticked("notify"))
    return see_other(f"{IMPORT}/{report.id}/annulation/{job.id}")


def show_undone(request: Request) -> Response:
    """Shows how undoing an import goes on, and then its result."""
    visitor, report = _visited(request)
    job = visitor.portal.wait_for(request.path_params["undo"], seconds=LOOK_SECONDS)
    if job.kind != UNDO:
        raise HTTPException(404)
    outlook = visitor.portal.roster_undo(report) if job.finished else None
    headers = {} if job.finished else {"Refresh": "1"}
    visitor.counters(fresh=True)
    return page(request, "import_undone.html", report=report, job=job, outlook=outlook, headers=headers)


def errors(request: Request) -> Response:
    """Gives the lines to correct as a file, with the reason of each."""
    visitor, report = _visited(request)
    file = cast("BinaryIO", SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - closed with its last piece
    visitor.portal.save_roster_errors(report, file, locale=visitor.language)
    stem = str((report.file or {}).get("name") or "participants").rpartition(".")[0] or "participants"
    return _download(file, f"{stem} à corriger.csv" if visitor.language == "fr" else f"{stem} to correct.csv", "csv")


def model(request: Request) -> Response:
    """Gives the file to fill in."""
    visitor = signed_in(request)
    kind = request.path_params["kind"]
    if kind not in MODELS:
        raise HTTPException(404)
    file = cast("BinaryIO", SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115 - closed with its last piece
    visitor.portal.save_roster_model(file, kind=kind, locale=visitor.language)
    return _download(file, f"participants.{kind}", kind)


def _download(file: BinaryIO, name: str, kind: str) -> Response:
    disposition = f"attachment; filename*=UTF-8''{quote(name.replace('/', '_').encode('utf-8', 'replace'), safe='')}"
    headers = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
    return StreamingResponse(_pieces(file), headers=headers, media_type=MODELS[kind])


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece


ROUTES: Final = [
    Route("/imports", imports, methods=["GET"]),
    Route(IMPORT, ask, methods=["GET"]),
    Route(IMPORT, send, methods=["POST"]),
    Route(f"{IMPORT}/modele.{{kind}}", model, methods=["GET"]),
    Route(f"{IMPORT}/{{job:uuid}}", show, methods=["GET"]),
    Route(f"{IMPORT}/{{job:uuid}}", start, methods=["POST"]),
    Route(f"{IMPORT}/{{job:uuid}}/lignes", rows, methods=["GET"]),
    Route(f"{IMPORT}/{{job:uuid}}/a-corriger.csv", errors, methods=["GET"]),
    Route(f"{IMPORT}/{{job:uuid}}/verification", check_again, methods=["POST"]),
    Route(f"{IMPORT}/{{job:uuid}}/arret", stop, methods=["POST"]),
    Route(f"{IMPORT}/{{job:uuid}}/annulation", ask_undo, methods=["GET"]),
    Route(f"{IMPORT}/{{job:uuid}}/annulation", undo, methods=["POST"]),
    Route(f"{IMPORT}/{{job:uuid}}/annulation/{{undo:uuid}}", show_undone, methods=["GET"]),
]
