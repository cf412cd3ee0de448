"""Answers the bell of `rosters`: one large request at a time, in chunks where its policy allows."""

from collections.abc import Sequence

from workers.actors.claimer import STOPPING, BatchRun, Claimer, give_back
from workers.actors.imports import do_import
from workers.database import Session
from workers.ledger import JOBS, Claimed, Outcome
from workers.queues import Queue
from workers.roster_requests import ImportRoster
from workers.services.enrollment_jobs import Course, begin, enroll_chunk
from workers.services.jobs import do_jobs
from workers.settings import get_settings


def rosters() -> Claimer:
    """The claimer of `rosters`."""
    return Claimer(JOBS, Queue.ROSTERS, do_batch, size=1)


def do_batch(rows: Sequence[Claimed]) -> None:
    """Does claimed large requests one after the other."""
    for row in rows:
        if row.columns["kind"] == ImportRoster.kind:
            do_import(row)
        else:
            _do(row)


def _do(row: Claimed) -> None:
    """Each chunk commits its people, the position reached and the lease together; a kill loses at most one chunk."""
    course: Course | None = None
    while not STOPPING.is_set():
        step = _Step(course)
        if not BatchRun(JOBS, step.work).run([row]) or step.over:
            return
        course = step.course
    give_back(JOBS, [row])


class _Step:
    """One chunk; `course` is where it leads, to be believed only once its transaction is committed."""

    def __init__(self, course: Course | None) -> None:
        self.course = course
        self.over = False

    def work(self, session: Session, held: Sequence[Claimed]) -> Sequence[Outcome]:
        """Does the next chunk of the row, if it is still ours; all of it where its policy allows no parts."""
        if not held:
            self.over = True
            return ()
        course = self.course or begin(session, held[0])
        if course is None:
            self.over = True
            return do_jobs(session, held)
        self.course, outcome = enroll_chunk(session, course, lease=get_settings().lease_seconds)
        self.over = outcome is not None
        return (outcome,) if outcome else ()
