"""Runs imports: reads the file outside any transaction, then imports it chunk by chunk."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from models.words import Code
from workers.database import Session, transaction
from workers.engine.chunks import ChunkedJob, keep_lease
from workers.engine.claimer import BatchRun
from workers.engine.ledger import (
    JOBS,
    ClaimedRow,
    LostClaimError,
    WorkOutcome,
)
from workers.imports.files import open_file
from workers.imports.importing import (
    RosterSource,
    RunningImport,
    import_chunk,
    read_import,
    refuse,
    refused_because,
    resume,
)
from workers.logs import get_logger
from workers.requests.imports import ImportRoster
from workers.rosters.reader import survey
from workers.rosters.refused import RosterRefused

log = get_logger()

KEPT: Final = 2
"""The number of files that a process keeps open for jobs that were postponed: they come back within a second."""

_sources: dict[UUID, RosterSource] = {}


def do_import(row: ClaimedRow) -> None:
    """Imports the file of a claimed job: each chunk commits its people, the position reached and the lease together."""
    request = read_import(row)
    try:
        source = _sources.get(row.id) or _open(row, request)
    except LostClaimError:
        return  # the process that has the job now does it
    except RosterRefused as refused:
        _end(row, refused.code, refused.detail)
        return
    if source is None:
        _end(row, Code.UNREADABLE_FILE, "the file is kept no longer: hand it over again")
        return
    if code := refused_because(request, source.reading):
        _end(row, code, "too many rows to be done at once: split the file, or use the policy until_full")
        return
    _do(row, request, source)


def _open(row: ClaimedRow, request: ImportRoster) -> RosterSource | None:
    with transaction() as session:
        file = open_file(session, row.columns["portal_id"], request.file)
    if file is None:
        return None
    try:
        source = RosterSource(file, survey(file, lambda: keep_lease(row)))
    except BaseException:
        file.close()
        raise
    while len(_sources) >= KEPT:
        _sources.pop(next(iter(_sources))).close()
    _sources[row.id] = source
    return source


def _do(row: ClaimedRow, request: ImportRoster, source: RosterSource) -> None:
    job = ChunkedJob(
        lambda session, held: resume(session, held, request, source), import_chunk, ahead=RunningImport.read_ahead
    )
    if job.run(row):
        _close(row.id)  # else the job comes back, and its file stays open


def _end(row: ClaimedRow, code: Code, detail: str) -> None:
    def work(session: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
        return [refuse(session, one, code, detail) for one in held]

    BatchRun(JOBS, work).run([row])


def _close(job_id: UUID) -> None:
    source = _sources.pop(job_id, None)
    if source is not None:
        source.close()
