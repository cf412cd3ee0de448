"""The claimer of a queue: once woken it claims a batch, does it in one transaction, and goes on while there is more.

Failures of every queue are dealt with here: a fault around the work postpones it; a batch that fails is halved down to
the row that fails, and that row is tried again later, or ends as dead with its error (the dead letter of the ledger).
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final
from uuid import UUID

from models.base import new_id
from models.job import postpone_seconds, retry_policy
from workers.database import is_lock_timeout, is_transient, lost_connection, transaction
from workers.engine import ledger as books
from workers.engine.broker import take_wake_flag, wake
from workers.engine.ledger import (
    FIRST_LANE,
    LAST_RESCUE,
    ClaimedRow,
    DoWork,
    FailedAttempt,
    Ledger,
)
from workers.engine.wake import WAKER
from workers.errors import NotConfigured, Permanent, Transient
from workers.logs import describe, get_logger
from workers.settings import get_settings

log = get_logger()

STOPPING: Final = threading.Event()
"""Set when this process is asked to stop; read between batches, chunks and mails."""

CLAIMERS: Final = 2
"""Threads of one process that may claim from one queue at once; more only share the same rows between them."""

ANSWER_SECONDS: Final = 2.0
"""Seconds a claimer goes on after one wake-up, before another thread has its turn."""

GATHER_SECONDS: Final = 0.03
"""Pause after a small batch: on live arrivals batches do not form by themselves, and each costs a dozen statements."""

SHORT_PAUSE, LONG_PAUSE = 0.5, 30.0
"""Seconds that work is postponed: when its surroundings failed, and when a setting is missing."""

SYSTEMIC: Final = 3
"""Rows that fail with one class of error before the rest is postponed: then the fault is not in the rows."""

CLAIMING: Final = threading.Lock()
"""Held while this process claims, and while it does a row that would end as dead if its lease were lost once more.

Such a row may be the one that kills its process. The other rows of that process lose their leases with it, so none of
them may be on its last chance too.
"""

DoBatch = Callable[[Sequence[ClaimedRow]], bool | None]
"""Does claimed rows; true when it gave some back because they were too much for one transaction."""


@lru_cache(maxsize=1)
def this_process() -> UUID:
    """The identifier of this process in leases and in the table of processes; made after the fork."""
    return new_id()


class Claimer:
    """Claims from one queue in this process.

    Parameters:
      ledger: which rows.
      queue: the queue it claims from.
      do_batch: what to do with claimed rows; deals with its own failures.
      size: rows claimed at once.
      ready: whether to claim now; while it says no, rows wait and the clock wakes the queue again.
    """

    def __init__(
        self,
        ledger: Ledger,
        queue: str,
        do_batch: DoBatch,
        *,
        size: int,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self.ledger = ledger
        self.queue = queue
        self.do_batch = do_batch
        self.size = size
        self.ready = ready
        self._places = threading.BoundedSemaphore(CLAIMERS)
        self._claiming = 0
        self._counting = threading.Lock()
        IN_THIS_PROCESS[queue] = self
        self._woken = threading.Event()
        self._cursor = FIRST_LANE

    def answer(self) -> None:
        """Claims and does what is due. When enough threads of this process do so already, they are told."""
        self._woken.set()
        if not self._places.acquire(blocking=False):
            return
        self._count(1)
        others = 0
        try:
            self._work_until(time.monotonic() + ANSWER_SECONDS)
        finally:
            others = self._count(-1)
            self._places.release()
        unseen = self._woken.is_set() and others == 0 and self.ready()
        if unseen or STOPPING.is_set():  # a stopping process leaves its work to the others
            # The last wake-up may have come to this process while it was full: no other process would know of it.
            wake(self.queue, again=True)

    def _count(self, change: int) -> int:
        with self._counting:
            self._claiming += change
            return self._claiming

    def _leaves_to_another(self) -> bool:
        """Whether another thread goes on alone: while batches are small, a second claimer makes them smaller still."""
        if self._count(0) == 1:
            return False
        self._woken.set()  # the other thread looks for what this one has not seen
        return True

    def tell(self) -> bool:
        """Tells a claimer of this process that more is due; False when none is at work.

        A claimer reads the flag after it has stopped counting itself, so one that is about to leave wakes the queue.
        """
        self._woken.set()
        return self._claiming > 0

    def _work_until(self, deadline: float) -> None:
        while not STOPPING.is_set() and self.ready():
            self._woken.clear()
            take_wake_flag(self.queue)
            rows, given_back = self._claim_and_do()
            if not rows and not self._woken.is_set():
                return
            if time.monotonic() > deadline:
                self._woken.set()
                return
            if len(rows) < self.size // 4 and not given_back and not any(row.rescues for row in rows):
                if self._leaves_to_another():
                    return
                STOPPING.wait(GATHER_SECONDS)

    def _claim_and_do(self) -> tuple[list[ClaimedRow], bool]:
        """The rows claimed, and whether some of them were given back."""
        with CLAIMING:
            rows = self._claim()
            if any(row.rescues >= LAST_RESCUE for row in rows):
                return rows, bool(self.do_batch(rows))
        if len(rows) >= self.size:
            WAKER.wake_soon(self.queue)  # more is waiting than one claimer takes: wake others, in every process
        return rows, bool(rows and self.do_batch(rows))

    def _claim(self) -> list[ClaimedRow]:
        try:
            with transaction() as session:
                rows = books.claim(
                    session,
                    self.ledger,
                    self.queue,
                    size=self.size,
                    lease=get_settings().lease_seconds,
                    worker=this_process(),
                    cursor=self._cursor,
                )
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("claim.postponed", queue=self.queue, exc_info=error)
            return []
        self._cursor = max((row.lane for row in rows), default=FIRST_LANE)
        return rows


IN_THIS_PROCESS: Final[dict[str, Claimer]] = {}
"""The claimers of this process, by queue."""


def wake_here(queue: str) -> None:
    """Tells a claimer at work in this process that something is due, or else wakes the queue everywhere."""
    claimer = IN_THIS_PROCESS.get(queue)
    if claimer is None or not claimer.tell():
        WAKER.wake_soon(queue)


class BatchRun:
    """One claimed batch on its way through `work`: the rows committed, and the errors so far."""

    def __init__(self, ledger: Ledger, work: DoWork) -> None:
        self.ledger = ledger
        self.work = work
        self.failing: Counter[str] = Counter()
        self.done: set[UUID] = set()

    def run(self, rows: Sequence[ClaimedRow]) -> bool:
        """Does the rows in one transaction; on an error halves them, until the row that fails stands alone.

        Returns: whether all of it was committed at once.
        """
        if self._systemic():
            self._postpone(rows, Transient("others of the batch failed alike", seconds=30))
            return False
        held: Sequence[ClaimedRow] = ()
        try:
            with transaction() as session:
                held = books.hold(session, self.ledger, rows)
                books.finish(session, self.ledger, self.work(session, held))
        except Exception as error:  # noqa: BLE001 - the outermost edge: whatever it is, the rows must not be lost
            self._failed(rows, error, begun=bool(held))
            return False
        self.done |= {row.id for row in held}
        for queue in books.queues_to_wake(session):
            wake_here(queue)
        log.info("work.done", ledger=self.ledger.table, rows=_names(rows), count=len(rows))
        return True

    def _systemic(self) -> bool:
        return any(count >= SYSTEMIC for count in self.failing.values())

    def _failed(self, rows: Sequence[ClaimedRow], error: Exception, *, begun: bool) -> None:
        # A connection that broke in the middle of the work may have been broken by it: the row that does so each time
        # must be found and count its failures, or it would take its neighbours down with it for ever.
        breaks = begun and lost_connection(error)
        lanes = books.by_lane(rows)
        if is_lock_timeout(error) and len(lanes) > 1:
            for lane in lanes:  # one of their contracts is locked: the other lanes need not wait for it
                self.run(lane)
        elif not breaks and (isinstance(error, Transient) or is_transient(error)):
            self._postpone(rows, error)
        elif len(rows) > 1:
            for half in books.halves(rows):
                self.run(half)
        elif isinstance(error, NotConfigured):  # a setting one row needs, or (then the third row tells) all of them
            self.failing[type(error).__name__] += 1
            self._postpone(rows, error)
        else:
            self.failing[type(error).__name__] += 1
            self._fail(rows[0], error)

    def _postpone(self, rows: Sequence[ClaimedRow], error: Exception) -> None:
        seconds = LONG_PAUSE if isinstance(error, NotConfigured) else getattr(error, "seconds", SHORT_PAUSE)
        # One pause for all: rows that come back at different times would overtake each other in their lane.
        pause = postpone_seconds(seconds, random.random())  # noqa: S311 - spreads load, guards nothing
        log.warning("work.postponed", ledger=self.ledger.table, rows=_names(rows), exc_info=error)
        reason = describe(error) | {"traceback": ""}  # it may be postponed for hours, and each time leaves a row
        setbacks = [
            FailedAttempt(row.id, row.claim, self.ledger.waiting, pause, "postponed", reason, counts=False)
            for row in rows
        ]
        set_back(self.ledger, setbacks)

    def _fail(self, row: ClaimedRow, error: Exception) -> None:
        policy = retry_policy(row.columns["kind"])
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        seconds = None if isinstance(error, Permanent) else policy.seconds_after(row.failures + 1, jitter)
        log.error("work.failed", ledger=self.ledger.table, rows=_names([row]), dead=seconds is None, exc_info=error)
        state, outcome = (self.ledger.dead, "dead") if seconds is None else (self.ledger.waiting, "retry")
        set_back(self.ledger, [FailedAttempt(row.id, row.claim, state, seconds, outcome, describe(error))])


def _names(rows: Sequence[ClaimedRow]) -> list[str]:
    """Rows as log lines name them: identifier and attempt."""
    return [f"{row.id}#{row.claim}" for row in rows]


def set_back(ledger: Ledger, setbacks: Sequence[FailedAttempt]) -> None:
    """Commits how attempts failed; while the database is away, the leases run out and the rows come back that way."""
    try:
        with transaction() as session:
            books.set_back(session, ledger, setbacks)
    except Exception as error:
        if not is_transient(error):
            raise
        log.warning("setback.not_recorded", ledger=ledger.table, exc_info=error)


def give_back(ledger: Ledger, rows: Sequence[ClaimedRow]) -> None:
    """Puts claimed rows that were not begun back among the waiting, because this process stops."""
    try:
        with transaction() as session:
            books.give_back(session, ledger, rows)
    except Exception as error:
        if not is_transient(error):
            raise
        log.warning("rows.not_given_back", ledger=ledger.table, exc_info=error)
