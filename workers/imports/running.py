"""Runs imports: reads the file outside any transaction, then imports it chunk by chunk."""

import time
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from models.words import Code
from workers.database import Session, transaction
from workers.engine.chunks import ChunkedJob, keep_lease, keeping_leases
from workers.engine.claimer import STOPPING, BatchRun, give_back
from workers.engine.ledger import (
    JOBS,
    ClaimedRow,
    LostClaimError,
    WorkOutcome,
)
from workers.engine.overdue import excuse
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
from workers.rosters.refused import RosterRefused
from workers.rosters.surveying import survey_apart
from workers.settings import get_settings

log = get_logger()

KEPT: Final = 2
"""The number of files that a process keeps open for jobs that were postponed: they come back within seconds."""

# The files of postponed jobs; the file of a job that is being done belongs to its thread.
_sources: dict[UUID, RosterSource] = {}


class StoppedError(Exception):
    """This process is asked to stop, and another one does the job."""


def do_import(row: ClaimedRow) -> None:
    """Imports the file of a claimed job: each chunk commits its people, the position reached and the lease together."""
    request = read_import(row)
    try:
        source = _sources.pop(row.id, None) or _open(row, request)
        if source is not None:
            _import(row, request, source)
        else:
            _end(row, Code.UNREADABLE_FILE, "the file is kept no longer: hand it over again")
    except RosterRefused as refused:
        _end(row, refused.code, refused.detail)
    except LostClaimError:
        excuse(JOBS, [row])  # the process that has the job now does it
    except StoppedError:
        give_back(JOBS, [row])


def _import(row: ClaimedRow, request: ImportRoster, source: RosterSource) -> None:
    """Imports the file, which is kept open for a job that was postponed."""
    source.beat = _keeping(row)
    finished = True
    try:
        if code := refused_because(request, source.reading):
            _end(row, code, "too many rows to be done at once: split the file, or use the policy until_full")
        else:
            finished = _do(row, request, source)
    finally:
        if finished:
            source.close()
    if not finished:
        _keep(row.id, source)


def _keeping(row: ClaimedRow) -> Callable[[], None]:
    """Makes the function that is called while a file is read: it keeps the lease, and looks whether to stop.

    It raises: StoppedError; LostClaimError when the job was taken back.
    """
    renewed_at = time.monotonic()

    def beat() -> None:
        nonlocal renewed_at
        if STOPPING.is_set():
            raise StoppedError
        if time.monotonic() - renewed_at > get_settings().lease_seconds / 3:
            keep_lease(row)
            renewed_at = time.monotonic()

    return beat


def _open(row: ClaimedRow, request: ImportRoster) -> RosterSource | None:
    """Opens the file of a job and surveys it; a thread keeps the lease meanwhile."""
    with keeping_leases([row]):
        with transaction() as session:
            file = open_file(session, row.columns.portal_id, request.file)
        if file is None:
            return None
        try:
            return RosterSource(file, survey_apart(file, _keeping(row)))
        except BaseException:
            file.close()
            raise


def _keep(job_id: UUID, source: RosterSource) -> None:
    while len(_sources) >= KEPT:
        _sources.pop(next(iter(_sources))).close()
    _sources[job_id] = source


def _do(row: ClaimedRow, request: ImportRoster, source: RosterSource) -> bool:
    """Does chunks; returns False when the job comes back."""
    job = ChunkedJob(
        lambda session, held: resume(session, held, request, source), import_chunk, ahead=RunningImport.read_ahead
    )
    return job.run(row)


def _end(row: ClaimedRow, code: Code, detail: str) -> None:
    def work(session: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
        return [refuse(session, one, code, detail) for one in held]

    BatchRun(JOBS, work).run([row])


def _close(job_id: UUID) -> None:
    source = _sources.pop(job_id, None)
    if source is not None:
        source.close()
