"""Does large jobs chunk by chunk: each chunk commits its rows, the position reached and the lease together.

A killed process loses at most one chunk: the process that rescues the job continues after the last committed chunk.
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
from workers.signs import SIGNS

log = get_logger()
LONGEST_STEP: Final = 900.0
"""The longest step, in seconds, for which leases are renewed."""

State = TypeVar("State")

# Moves the position of a job that is still ours, and renews its lease: a job that moves kills no worker.
MOVE_POSITION = text("""
    UPDATE job SET position = :position, leased_until = now() + make_interval(secs => :lease), rescues = 0,
      postponements = 0, postponed_at = NULL
    WHERE id = :id AND claim = :claim""")


class Chunk(NamedTuple, Generic[State]):
    """One chunk that was done.

    Parameters:
      state: the new state of the job. The earlier state is not changed, so that a chunk can be done again when its
        transaction fails.
      position: the progress of the job, which its row keeps.
      outcome: the end of the job, after its last chunk.
    """

    state: State
    position: int
    outcome: WorkOutcome | None = None


class ChunkedJob(Generic[State]):
    """Does one kind of large job, chunk by chunk: each chunk commits its rows, the position and the lease together.

    Parameters:
      begin: resumes a claimed job after its last committed chunk.
      chunk: does the next chunk.
      ahead: returns the job with what its next chunk needs, made ready outside any transaction.
    """

    def __init__(
        self,
        begin: Callable[[Session, ClaimedRow], State],
        chunk: Callable[[Session, State], Chunk[State]],
        ahead: Callable[[State], State] = lambda state: state,
    ) -> None:
        self._begin, self._chunk, self._ahead = begin, chunk, ahead

    def run(self, row: ClaimedRow) -> bool:
        """Does chunks until the job has ended (returns True), or is postponed or given back (returns False)."""
        state: State | None = None
        while not STOPPING.is_set():
            if state is not None:
                state = self._ahead(state)
            step = _Step(self._begin, self._chunk, state)
            if not BatchRun(JOBS, step.work).run([row]):
                return False
            if step.ended:
                return True
            state = step.state
        give_back(JOBS, [row])
        return False


class _Step(Generic[State]):
    """One transaction of a chunked job; its `state` is valid only after that transaction is committed."""

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
        """Resumes the job, or does its next chunk; does nothing when another process has taken the job."""
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
    """Renews the leases of these jobs from a thread of its own during a long step, because a store may be slow.

    It stops after ``LONGEST_STEP``, so that another process rescues the job when a step hangs.
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
        with SIGNS.patiently(LONGEST_STEP):
            yield
    finally:
        over.set()
        keeper.join()


def keep_lease(row: ClaimedRow) -> None:
    """Renews the lease of a job during a long step.

    Raises: LostClaimError when the row was rescued.
    """
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
