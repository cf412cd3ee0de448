"""The actor of `rosters`, which does one large request at a time, in chunks where its policy allows that."""

from collections.abc import Sequence

from workers.actors.registry import do_jobs
from workers.engine.chunks import ChunkedJob
from workers.engine.claimer import BatchRun, Claimer, counting_failures
from workers.engine.ledger import JOBS, ClaimedRow
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
        with counting_failures(row):
            _do(row)


def _do(row: ClaimedRow) -> None:
    match row.columns.kind:
        case ImportRoster.kind:
            do_import(row)
        case UndoImport.kind:
            ChunkedJob(roster_undoing.resume, roster_undoing.undo_chunk).run(row)
        case Enroll.kind if in_chunks(read_request(row)):
            ChunkedJob(begin, enroll_chunk).run(row)
        case _:
            BatchRun(JOBS, do_jobs).run([row])
