"""The actor of `rosters`, which does one large request at a time, in chunks where its policy allows that."""

from collections.abc import Sequence

from workers.actors.registry import do_jobs
from workers.engine.chunks import ChunkedJob
from workers.engine.claimer import BatchRun, Claimer
from workers.engine.ledger import (
    JOBS,
    ClaimedRow,
    DoWork,
    WorkOutcome,
)
from workers.enrollment.jobs import (
    begin,
    enroll_chunk,
    in_chunks,
    read_request,
)
from workers.imports import undoing as roster_undoing
from workers.imports.running import do_import
from workers.requests.enrollment import Enroll
from workers.requests.imports import ImportRoster, UndoImport
from workers.requests.queues import Queue


def rosters() -> Claimer:
    """Makes the claimer of `rosters`, which claims one job at a time."""
    return Claimer(JOBS, Queue.ROSTERS, do_batch, size=1)


def do_batch(rows: Sequence[ClaimedRow]) -> None:
    """Does claimed large requests one after the other."""
    for row in rows:
        try:
            _do(row)
        except Exception as error:  # noqa: BLE001 - outside any transaction: a full disk, an unreadable request
            BatchRun(JOBS, _failing(error)).run([row])


def _do(row: ClaimedRow) -> None:
    match row.columns["kind"]:
        case ImportRoster.kind:
            do_import(row)
        case UndoImport.kind:
            ChunkedJob(roster_undoing.resume, roster_undoing.undo_chunk).run(row)
        case Enroll.kind if in_chunks(read_request(row)):
            ChunkedJob(begin, enroll_chunk).run(row)
        case _:
            BatchRun(JOBS, do_jobs).run([row])


def _failing(error: Exception) -> DoWork:
    """Makes work that raises this error, so that the job is tried again or ends as any job does."""

    def work(*_: object) -> Sequence[WorkOutcome]:
        raise error

    return work
