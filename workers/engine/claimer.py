"""Answering a bell: claim a batch, do it in one transaction, go on while there is more.

This is where failures are dealt with, for every queue alike: a fault around the work postpones it, a failing batch is
halved down to the row that fails, and that row is tried again later or buried with its error.
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
"""Set when this process was asked to stop: looked at between batches, chunks and mails."""

CLAIMERS: Final = 2
"""Threads of one process that may claim from one queue at once; more only share the same rows between them."""

ANSWER_SECONDS: Final = 2.0
"""How long one bell is answered before another thread gets its turn."""

GATHER_SECONDS: Final = 0.03
"""Pause after a small batch: on live arrivals batches do not form by themselves, and each costs a dozen statements."""

SHORT_PAUSE, LONG_PAUSE = 0.5, 30.0
"""Seconds work waits whose surroundings failed; and for a setting that is missing."""

SYSTEMIC: Final = 3
"""Rows failing with one class of error after which the rest is postponed: it is not the rows."""

CLAIMING: Final = threading.Lock()
"""Held while this process claims, and while it does a row that its next loss would bury.

Such a row may be the one that kills its process. Whatever else that process holds is lost with it, and so must not be
on its last chance as well.
"""

DoBatch = Callable[[Sequence[ClaimedRow]], bool | None]
"""Does claimed rows; true when it gave some back because they were too much for one transaction."""


@lru_cache(maxsize=1)
def this_process() -> UUID:
    """The identifier of this process in leases and in the table of processes; made after the fork."""
    return new_id()


class Claimer:
    """Answers the bell of one queue in this process.

    Parameters:
      ledger: which rows.
      queue: whose bell.
      do_batch: what to do with claimed rows; deals with its own failures.
      size: rows claimed at once.
      ready: whether it makes sense to claim now; while it does not, rows wait and the clock rings again.
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
        self._rung = threading.Event()
        self._cursor = FIRST_LANE

    def answer(self) -> None:
        """Claims and does what is due, unless enough threads of this process are doing so: then they hear of it."""
        self._rung.set()
        if not self._places.acquire(blocking=False):
            return
        self._count(1)
        others = 0
        try:
            self._work_until(time.monotonic() + ANSWER_SECONDS)
        finally:
            others = self._count(-1)
            self._places.release()
        unseen = self._rung.is_set() and others == 0 and self.ready()
        if unseen or STOPPING.is_set():  # a stopping process leaves word to the others
            # A bell may stand whose message came to this process while it was full: nobody else will hear of it.
            wake(self.queue, again=True)

    def _count(self, change: int) -> int:
        with self._counting:
            self._claiming += change
            return self._claiming

    def _leaves_to_another(self) -> bool:
        """While batches are small one claimer is enough: a second would only make them smaller."""
        if self._count(0) == 1:
            return False
        self._rung.set()  # what this one has not seen, the other looks for
        return True

    def hears(self) -> bool:
        """Tells a claimer of this process that more is due; False when none is at work.

        A claimer looks at the flag after it has stopped counting itself, so one that is just leaving rings for us.
        """
        self._rung.set()
        return self._claiming > 0

    def _work_until(self, deadline: float) -> None:
        while not STOPPING.is_set() and self.ready():
            self._rung.clear()
            take_wake_flag(self.queue)
            rows, given_back = self._claim_and_do()
            if not rows and not self._rung.is_set():
                return
            if time.monotonic() > deadline:
                self._rung.set()
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
            WAKER.ring_soon(self.queue)  # more is waiting than one claimer takes: call others, in every process
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
"""The claimer of each queue this process knows how to answer."""


def wake_here(queue: str) -> None:
    """Says that something is due on a queue: to a claimer at work in this process, else by ringing the bell."""
    claimer = IN_THIS_PROCESS.get(queue)
    if claimer is None or not claimer.hears():
        WAKER.ring_soon(queue)


class BatchRun:
    """One claimed batch on its way through `work`: what is committed, and what went wrong so far."""

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
            for lane in lanes:  # somebody holds one of their contracts: the others need not wait for it
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
