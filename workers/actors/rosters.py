"""Answers the bell of `rosters`: one large request at a time, in chunks where its policy allows."""

from collections.abc import Sequence

from workers.actors.claimer import BatchRun, Claimer
from workers.actors.courses import Follower
from workers.actors.imports import do_import
from workers.database import Session
from workers.errors import InvalidRequest
from workers.ledger import JOBS, Claimed, Outcome
from workers.queues import Queue
from workers.requests import Enroll, parse
from workers.roster_requests import ImportRoster, UndoImport
from workers.services import roster_undoing
from workers.services.enrollment_jobs import begin, enroll_chunk, in_chunks, read_request
from workers.services.jobs import do_jobs


def rosters() -> Claimer:
    """The claimer of `rosters`."""
    return Claimer(JOBS, Queue.ROSTERS, do_batch, size=1)


def do_batch(rows: Sequence[Claimed]) -> None:
    """Does claimed large requests one after the other."""
    for row in rows:
        try:
            _do(row)
        except InvalidRequest:  # of an older release: it ends with that error, as any job that fails
            BatchRun(JOBS, _read).run([row])


def _do(row: Claimed) -> None:
    match row.columns["kind"]:
        case ImportRoster.kind:
            do_import(row)
        case UndoImport.kind:
            Follower(roster_undoing.resume, roster_undoing.undo_chunk).follow(row)
        case Enroll.kind if in_chunks(read_request(row)):
            Follower(begin, enroll_chunk).follow(row)
        case _:
            BatchRun(JOBS, do_jobs).run([row])


def _read(_: Session, held: Sequence[Claimed]) -> Sequence[Outcome]:
    for row in held:
        parse(row.columns["kind"], row.columns["request"], internal=True)
    return ()
