"""Roster files: uploaded, reported on, corrected, stopped, undone; and the model that managers fill in."""

import json
from typing import Any, BinaryIO, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from models.label import make_label
from models.words import Code, Policy, Scope
from workers.api.bodies import read_body, read_request
from workers.api.calls import Call, json_answer
from workers.api.downloads import CSV, XLSX, collect, file_answer, read_pieces, streamed_answer, threaded
from workers.api.operation import Body, Operation, Query
from workers.api.pages import PageQuery, page_answer, read_number_cursor
from workers.api.problems import ApiProblem
from workers.api.routes.jobs import visible_job
from workers.api.schemas import Page, RosterReport, RosterRow, RosterUndo
from workers.api.submitting import answer_job, body_of, required_key, submit
from workers.api.uploading import ArrivedFile, arriving_file
from workers.database import autocommit, transaction
from workers.engine.acceptance import AcceptedJob
from workers.engine.wake import WAKER
from workers.errors import IdempotencyConflict, InvalidRequest
from workers.imports.acceptance import accept_import
from workers.imports.reports import errors_file
from workers.portals.rights import refusal
from workers.reading.roster_reports import find_kept_reading, show_import
from workers.reading.roster_rows import Only, RowsAsked, find_row_results, show_rows
from workers.reading.roster_undo import show_undo
from workers.requests.imports import CancelImport, ImportRoster, UndoImport
from workers.rosters.model_file import csv_model, xlsx_model
from workers.rosters.reader import MAX_BYTES

TAG: Final = "Roster files"

SPREADSHEETS: Final = (
    "multipart/form-data",
    "text/csv",
    XLSX,
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/octet-stream",
)

NO_FILE_YET: Final = "0" * 64
"""Stands for the hash of a file that has not arrived."""

Locale = Literal["fr", "en"]
Delimiter = Literal[",", ";"]


class UploadQuery(Query):
    """How a file is imported; the fields are those of `import_roster`."""

    filename: str | None = Field(
        default=None, max_length=1_000, description="the name of the file for people; the form's own name without it"
    )
    policy: Policy | None = Field(default=None, description="what to do when not all people can be enrolled")
    notify: bool | None = Field(default=None, description="send each enrolled person a mail; true without it")
    dry_run: bool | None = Field(default=None, description="answer what would happen, change nothing")
    report_to: str | None = Field(default=None, max_length=320, description="address for the summary")
    report_locale: Locale | None = Field(default=None, description="language of that summary")
    requested_by: str | None = Field(default=None, max_length=1_000, description="who asks, in the portal's own words")


class KeptImport(BaseModel):
    """How a file that is kept is imported; what is left out is as it was in the earlier import."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    policy: Policy | None = Field(
        default=None, strict=False, description=UploadQuery.model_fields["policy"].description
    )
    notify: bool | None = Field(default=None, description="send each enrolled person a mail")
    dry_run: bool = Field(default=False, description="answer what would happen, change nothing")
    report_to: str | None = Field(default=None, max_length=320, description="address for the summary")
    report_locale: Locale | None = Field(default=None, description="language of that summary")
    requested_by: str = Field(default="", max_length=1_000, description="who asks, in the portal's own words")


class RowsQuery(PageQuery):
    """Which rows of a file are asked for."""

    only: Only | None = Field(
        default=None,
        description="only rows that were `accepted` or `refused`; of these the ones `to_correct`, which no further seat"
        " would help; or the first with `accented` names, where these alone tell how the file was read",
    )
    code: Code | None = Field(default=None, description="only with this result")


class ErrorsQuery(Query):
    """How the rows to correct are explained."""

    locale: Locale | None = Field(default=None, description="language of the reasons; that of the report without it")


class ModelQuery(Query):
    """The model that is wanted."""

    locale: Locale = Field(default="fr", description="language of its header")


class CsvModelQuery(ModelQuery):
    """The model that is wanted, as CSV."""

    delimiter: Delimiter = Field(default=",", description="the sign between cells; Excel in French expects `;`")


async def upload(call: Call) -> Response:
    """Imports a file of people (CSV, .xlsx, .ods), which is the body itself or the field `file` of a form.

    At most 200 MB, of which each megabyte may take a minute. Nothing of a file that did not arrive whole is kept. While
    a file is being imported, the same file for the same contract is the same job.
    """
    key = required_key(call)
    query: UploadQuery = call.query
    given = {name: value for name, value in query.model_dump(exclude={"filename"}).items() if value is not None}
    draft = _draft(call, given, query.filename)
    if call.key.companies is not None and await call.read(refusal, call.key, draft) is not None:
        raise ApiProblem(Code.NOT_FOUND)
    async with arriving_file(call) as file:
        draft = _draft(call, given, query.filename or file.name)
        accepted, request = await call.run(lambda: _accept(call, file, draft, key))
    WAKER.wake_soon(accepted.queue)
    return await answer_job(call, accepted, request)


def _draft(call: Call, given: dict[str, Any], name: str | None) -> ImportRoster:
    """Makes the request, but for the hash of its file."""
    fields = {"contract": call.path["contract"], "file": NO_FILE_YET, "file_name": make_label(name or "", "file")}
    request, _ = read_request(ImportRoster, json.dumps(given | fields).encode(), {})
    return request


def _accept(call: Call, file: ArrivedFile, draft: ImportRoster, key: str) -> tuple[AcceptedJob, ImportRoster]:
    """Keeps the file and records its import, in one transaction."""
    with transaction() as session:
        request = draft.model_copy(update={"file": file.upload.keep(session)})
        return accept_import(session, call.key.portal_id, request, key=key), request


async def show(call: Call) -> Response:
    """Shows the import of a file: how the file was understood, its progress, and the counts of results."""
    report = await call.read(show_import, call.key, call.identifier("job"))
    if report is None:
        raise ApiProblem(Code.NOT_FOUND)
    return json_answer(report)


async def list_rows(call: Call) -> Response:
    """Lists the rows of a file: what it says, the result, and the participant as they are now.

    Of an import that runs it has those so far; of a dry run, what would happen. What the file says is null once the
    file is kept no longer, and where it is over 50 MB (5 MB as a workbook). The participant is null for a refused row,
    and for one who left. A page may have fewer items than `limit` although `next` is given.
    """
    query: RowsQuery = call.query
    asked = RowsAsked(read_number_cursor(query.cursor), query.limit, query.only, query.code)
    found = await call.read(find_row_results, call.key, call.identifier("job"), asked)
    if found is None:
        raise ApiProblem(Code.NOT_FOUND)
    read = call.make if found.takes_long else call.run
    items = await read(lambda: show_rows(found))
    return page_answer(call, items, None if found.next is None else str(found.next))


async def import_kept(call: Call) -> Response:
    """Imports the file of an earlier import or dry run again, without sending it: what a dry run has shown is done.

    What the body leaves out is as it was, but `dry_run`, which is false. A file is kept for some days: later the answer
    is `not_kept`.
    """
    key = required_key(call)
    earlier = await visible_job(call, whole=True)
    if earlier.kind != ImportRoster.kind:
        raise ApiProblem(Code.NOT_FOUND)
    given, _ = read_request(KeptImport, await read_body(call.http, call.operation.most), {})
    if earlier.request is None:
        raise ApiProblem(Code.NOT_KEPT)
    fields = json.loads(earlier.request) | given.model_dump(mode="json", exclude_none=True)
    request, _ = read_request(ImportRoster, json.dumps(fields).encode(), {})
    accepted = await call.run(lambda: _accept_kept(call, request, key))
    WAKER.wake_soon(accepted.queue)
    return await answer_job(call, accepted, request)


def _accept_kept(call: Call, request: ImportRoster, key: str) -> AcceptedJob:
    """Records the import of a file that is kept.

    Raises: ApiProblem with `not_kept` when it is kept no longer.
    """
    try:
        with transaction() as session:
            return accept_import(session, call.key.portal_id, request, key=key)
    except IdempotencyConflict:
        raise
    except InvalidRequest:  # the key was read before: only the file can be wrong
        raise ApiProblem(Code.NOT_KEPT) from None


async def undo_outlook(call: Call) -> Response:
    """Shows what undoing an import would do now: how many people by code, and the first who keep their seat."""
    found = await call.read(show_undo, call.key, call.identifier("job"))
    if found is None:
        raise ApiProblem(Code.NOT_FOUND)
    return json_answer(found)


async def errors(call: Call) -> Response:
    """Gives the rows that were refused, as they were written, with line, code and reason: to correct and send again.

    Of an import that runs it has those so far. One such file is made for a portal at a time, `unavailable` answers a
    further call meanwhile: a file of 200 MB takes minutes.
    """
    report = await call.read(show_import, call.key, call.identifier("job"))
    if report is None:
        raise ApiProblem(Code.NOT_FOUND)
    query: ErrorsQuery = call.query
    locale = query.locale or report["report_locale"]
    file = await call.make(lambda: _collect_errors(call, locale))
    stem = (report["file"]["name"] or "file").rpartition(".")[0] or "file"
    pieces = threaded(call, read_pieces(file))
    return streamed_answer(pieces, f"{stem}.errors.csv", CSV)


def _collect_errors(call: Call, locale: str) -> BinaryIO:
    """Collects the refused rows of an import.

    Raises: ApiProblem when its file was not read, or is kept no longer.
    """
    job_id = call.identifier("job")
    with autocommit() as session:
        read, kept = find_kept_reading(session, job_id)
        if not kept:
            raise ApiProblem(Code.NOT_KEPT)
        if not read:
            raise ApiProblem(Code.NOT_FOUND, "the file is not read yet, or was refused as a whole: the report says why")
        return collect(line.encode("utf-8", "replace") for line in errors_file(session, job_id, locale))


async def about_import(call: Call) -> Response:
    """Records a request about an import that the key may see."""
    if (await visible_job(call)).kind != ImportRoster.kind:
        raise ApiProblem(Code.NOT_FOUND)
    return await submit(call)


async def model_csv(call: Call) -> Response:
    """Gives the file that managers fill in, as CSV: UTF-8 with its mark."""
    query: CsvModelQuery = call.query
    return file_answer(csv_model(query.locale, query.delimiter), "participants.csv", CSV)


async def model_xlsx(call: Call) -> Response:
    """Gives the file that managers fill in, as a workbook."""
    query: ModelQuery = call.query
    content = await call.run(lambda: xlsx_model(query.locale))
    return file_answer(content, "participants.xlsx", XLSX)


OPERATIONS: Final = (
    Operation(
        "POST",
        "/contracts/{contract}/rosters",
        ImportRoster.kind,
        upload,
        Scope.ENROLL,
        "Import a file of people",
        TAG,
        body=Body(media_types=SPREADSHEETS, most=MAX_BYTES),
        query=UploadQuery,
        keyed=True,
    ),
    Operation(
        "GET",
        "/rosters/{job}",
        "show_import",
        show,
        Scope.READ,
        "Show the import of a file",
        TAG,
        answers={200: RosterReport},
        instead=(Scope.ENROLL,),
    ),
    Operation(
        "GET",
        "/rosters/{job}/rows",
        "list_roster_rows",
        list_rows,
        Scope.READ,
        "List the rows of a file with their results",
        TAG,
        query=RowsQuery,
        answers={200: Page[RosterRow]},
    ),
    Operation(
        "GET",
        "/rosters/{job}/errors.csv",
        "show_import_errors",
        errors,
        Scope.READ,
        "Get the rows to correct",
        TAG,
        query=ErrorsQuery,
        answers={200: CSV},
        problems=(Code.NOT_KEPT,),
        instead=(Scope.ENROLL,),
    ),
    Operation(
        "POST",
        "/rosters/{job}/import",
        "import_kept_roster",
        import_kept,
        Scope.ENROLL,
        "Import a file that was tried before",
        TAG,
        body=Body(shape=KeptImport, required=False),
        keyed=True,
        problems=(Code.NOT_KEPT,),
    ),
    Operation(
        "POST",
        "/rosters/{job}/cancel",
        CancelImport.kind,
        about_import,
        Scope.ENROLL,
        "Stop the import of a file",
        TAG,
        body=body_of(CancelImport, job="job"),
        keyed=True,
    ),
    Operation(
        "GET",
        "/rosters/{job}/undo",
        "show_import_undo",
        undo_outlook,
        Scope.READ,
        "Show what undoing an import would do",
        TAG,
        answers={200: RosterUndo},
    ),
    Operation(
        "POST",
        "/rosters/{job}/undo",
        UndoImport.kind,
        about_import,
        Scope.ENROLL,
        "Withdraw the people that an import enrolled",
        TAG,
        body=body_of(UndoImport, job="job"),
        keyed=True,
    ),
    Operation(
        "GET",
        "/roster-model.csv",
        "get_roster_model_csv",
        model_csv,
        Scope.READ,
        "Get the file to fill in, as CSV",
        TAG,
        query=CsvModelQuery,
        answers={200: CSV},
    ),
    Operation(
        "GET",
        "/roster-model.xlsx",
        "get_roster_model_xlsx",
        model_xlsx,
        Scope.READ,
        "Get the file to fill in, as a workbook",
        TAG,
        query=ModelQuery,
        answers={200: XLSX},
        compressed=False,
    ),
)
