"""Large jobs done chunk by chunk: each chunk commits its rows, the position reached and the lease together.

A kill loses at most one chunk: the process that takes the job up goes on behind the last one that was committed.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Generic, NamedTuple, TypeVar

from sqlalchemy import text

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

State = TypeVar("State")

MOVE_POSITION = text("""
    UPDATE job SET position = :position, leased_until = now() + make_interval(secs => :lease), rescues = 0
    WHERE id = :id AND claim = :claim""")


class Chunk(NamedTuple, Generic[State]):
    """One chunk that was done.

    Parameters:
      state: where the job stands now; the state it began with is left as it was, so that a chunk whose transaction
        fails can be done again.
      position: how far the job has come, as its row keeps it.
      outcome: how the job ended, with its last chunk.
    """

    state: State
    position: int
    outcome: WorkOutcome | None = None


class ChunkedJob(Generic[State]):
    """Does one kind of large job, chunk by chunk: each chunk commits its rows, the position and the lease together.

    Parameters:
      begin: takes a claimed job up where its last committed chunk left it.
      chunk: does the next chunk.
      ahead: makes ready, outside any transaction, what the next chunk needs.
    """

    def __init__(
        self,
        begin: Callable[[Session, ClaimedRow], State],
        chunk: Callable[[Session, State], Chunk[State]],
        ahead: Callable[[State], object] = lambda _: None,
    ) -> None:
        self._begin, self._chunk, self._ahead = begin, chunk, ahead

    def run(self, row: ClaimedRow) -> bool:
        """Goes on until the job has ended (true), or is postponed or given back (false)."""
        state: State | None = None
        while not STOPPING.is_set():
            if state is not None:
                self._ahead(state)
            step = _Step(self._begin, self._chunk, state)
            if not BatchRun(JOBS, step.work).run([row]):
                return False
            if step.ended:
                return True
            state = step.state
        give_back(JOBS, [row])
        return False


class _Step(Generic[State]):
    """One transaction of a chunked job; its `state` counts only once that transaction is committed."""

    def __init__(
        self,
        begin: Callable[[Session, ClaimedRow], State],
        chunk: Callable[[Session, State], Chunk[State]],
        state: State | None,
    ) -> None:
        self._begin, self._chunk = begin, chunk
        self.state = state
        self.ended = False

    def work(self, session: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
        """Takes the job up, or does its next chunk; nothing when another process has taken the job."""
        if not held:
            self.ended = True
            return ()
        if self.state is None:
            self.state = self._begin(session, held[0])
            return ()
        self.state, position, outcome = self._chunk(session, self.state)
        lease = get_settings().lease_seconds
        session.execute(MOVE_POSITION, {"id": held[0].id, "claim": held[0].claim, "position": position, "lease": lease})
        self.ended = outcome is not None
        return (outcome,) if outcome else ()


@contextmanager
def keeping_leases(rows: Sequence[ClaimedRow]) -> Iterator[None]:
    """Moves the leases of jobs in hand, from a thread of its own, for as long as a step takes: a store may be slow.

    It ends after ``LONGEST_STEP``: a step that hangs is left to the process that rescues its job.
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
