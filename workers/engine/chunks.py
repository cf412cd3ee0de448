"""Large jobs done chunk by chunk: each chunk commits its rows, the position reached and the lease together.

A kill loses at most one chunk; whoever takes the job up goes on where the last committed one left it.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

from workers.database import Session, is_transient, transaction
from workers.engine import ledger as books
from workers.engine.claimer import STOPPING, BatchRun, give_back
from workers.engine.ledger import (
    JOBS,
    ClaimedRow,
    LostClaimError,
    WorkOutcome,
)
from workers.logs import get_logger
from workers.settings import get_settings

log = get_logger()
LONGEST_STEP: Final = 900.0
"""Seconds a step may take whose leases are kept."""

Progressing = TypeVar("Progressing")


class ChunkedJob(Generic[Progressing]):
    """Follows the course of one kind of large job.

    Parameters:
      begin: takes a claimed job up where its last chunk left it.
      chunk: does the next chunk; where that leads, and the outcome with the last one.
      ahead: what is to be made ready before the transaction of the next chunk begins.
    """

    def __init__(
        self,
        begin: Callable[[Session, ClaimedRow], Progressing],
        chunk: Callable[..., tuple[Progressing, WorkOutcome | None]],
        ahead: Callable[[Progressing], object] = lambda _: None,
    ) -> None:
        self._begin, self._chunk, self._ahead = begin, chunk, ahead

    def follow(self, row: ClaimedRow) -> bool:
        """Goes on until the job is over (true), comes back later or this process stops (false)."""
        course: Progressing | None = None
        while not STOPPING.is_set():
            if course is not None:
                self._ahead(course)
            step = _Step(self._begin, self._chunk, course)
            if not BatchRun(JOBS, step.work).run([row]):
                return False
            if step.over:
                return True
            course = step.course
        give_back(JOBS, [row])
        return False


class _Step(Generic[Progressing]):
    """One chunk; `course` is where it leads, to be believed only once its transaction is committed."""

    def __init__(
        self,
        begin: Callable[[Session, ClaimedRow], Progressing],
        chunk: Callable[..., tuple[Progressing, WorkOutcome | None]],
        course: Progressing | None,
    ) -> None:
        self._begin, self._chunk = begin, chunk
        self.course = course
        self.over = False

    def work(self, session: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
        """Takes the job up, or does its next chunk, if it is still ours."""
        if not held:
            self.over = True
            return ()
        if self.course is None:
            self.course = self._begin(session, held[0])
            return ()
        self.course, outcome = self._chunk(session, self.course, lease=get_settings().lease_seconds)
        self.over = outcome is not None
        return (outcome,) if outcome else ()


@contextmanager
def keeping_leases(rows: Sequence[ClaimedRow]) -> Iterator[None]:
    """Moves the leases of jobs in hand, from a thread of its own, for as long as a step takes: a store may be slow.

    Not for ever: a step that hangs is left to whoever rescues its job.
    """
    over = threading.Event()

    def keep() -> None:
        ends = time.monotonic() + LONGEST_STEP
        while time.monotonic() < ends and not over.wait(get_settings().lease_seconds / 3):
            try:
                with transaction() as session:
                    books.renew(session, JOBS, rows, lease=get_settings().lease_seconds)
            except Exception as error:
                log.warning("lease.not_renewed", exc_info=error)

    keeper = threading.Thread(target=keep, name="leases", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def keep_lease(row: ClaimedRow) -> None:
    """Moves the lease of a job during a step that takes long. Raises: LostClaimError when the row was taken back."""
    try:
        with transaction() as session:
            ours = books.renew(session, JOBS, [row], lease=get_settings().lease_seconds)
    except Exception as error:
        if not is_transient(error):
            raise
        log.warning("lease.not_renewed", exc_info=error)
        return
    if not ours:
        raise LostClaimError("the job was taken back during a step that took long")
