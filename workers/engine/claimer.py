"""The claimer of a queue: when woken, it claims a batch, does it in one transaction, and goes on while there is more.

It handles the failures of every queue: a transient fault postpones the work; a batch that fails is halved until the
failing row is alone, and that row is tried again later, or ends as dead with its error (the dead letter).
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, Generic, cast
from uuid import UUID

from models.base import new_id
from models.job import UNREAD_SECONDS, postpone_seconds, retry_policy
from workers.database import Session, is_lock_timeout, is_transient, lost_connection, transaction
from workers.engine import ledger as books
from workers.engine.broker import take_wake_flag, wake
from workers.engine.job_events import tell_ended, tell_finished
from workers.engine.ledger import (
    FIRST_LANE,
    JOBS,
    LAST_RESCUE,
    LOCKED,
    POSTPONED,
    UNREADABLE,
    Claimed,
    ClaimedRow,
    ColumnsT,
    DoWork,
    FailedAttempt,
    Ledger,
    WorkOutcome,
)
from workers.engine.overdue import excuse
from workers.engine.stopping import DRAINING
from workers.engine.stopping import STOPPING as STOPPING  # noqa: PLC0414 - claimers and their users read it here
from workers.engine.wake import WAKER
from workers.errors import NotConfigured, Permanent, Transient, cannot_read
from workers.logs import describe, get_logger
from workers.settings import get_settings
from workers.signs import SIGNS

log = get_logger()

CLAIMERS: Final = 2
"""The most threads of one process that claim from one queue at once; more would only share the same rows."""

ANSWER_SECONDS: Final = 2.0
"""Seconds for which a claimer works after a wake-up, before another thread has its turn."""

GATHER_SECONDS: Final = 0.03
"""Seconds of pause after a small batch, so that new work forms a batch: each batch costs a dozen statements."""

SHORT_PAUSE, LONG_PAUSE = 0.5, 30.0
"""Seconds of the first pause of postponed work: after a transient fault, and when a setting or a release is missing."""

LANES_SECONDS: Final = 5.0
"""Seconds for which lanes that were claimed together are done one by one; it is a part of a lease."""

SYSTEMIC: Final = 3
"""Rows that fail with the same class of error before the rest is postponed, because the fault is then elsewhere."""

CLAIMING: Final = threading.Lock()
"""A lock held while this process claims, and while it does a row that ends as dead if it loses its lease once more.

Such a row may kill its process. The other rows of the process then lose their leases too, so none of them may be one
lost lease away from its end.
"""

DoBatch = Callable[[Sequence[ClaimedRow[ColumnsT]]], bool | None]
"""A function that does claimed rows; it returns True when it gave some back as too many for one transaction."""


@lru_cache(maxsize=1)
def this_process() -> UUID:
    """Returns the identifier of this process in leases and in the table of processes; it is made after the fork."""
    return new_id()


class Claimer(Generic[ColumnsT]):
    """Claims from one queue in this process.

    Parameters:
      ledger: the table of jobs or mails.
      queue: the queue it claims from.
      do_batch: does claimed rows, and handles its own failures.
      size: rows claimed at once.
      ready: tells whether to claim now; while it returns False, rows wait and the clock wakes the queue again.
    """

    def __init__(
        self,
        ledger: Ledger[ColumnsT],
        queue: str,
        do_batch: DoBatch[ColumnsT],
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
        """Claims and does due work; when enough threads of this process do so already, it only tells them."""
        self._woken.set()
        if not self._places.acquire(blocking=False):
            return
        self._count(1)
        others = 0
        try:
            with SIGNS.during(f"claimer of {self.queue}"):
                self._work_until(time.monotonic() + ANSWER_SECONDS)
        finally:
            others = self._count(-1)
            self._places.release()
        unseen = self._woken.is_set() and others == 0 and self.ready()
        if unseen or STOPPING.is_set() or DRAINING.is_set():  # such a process leaves its work to the others
            # This process may have received the last wake-up while all its claimers were busy: no other knows of it.
            wake(self.queue, again=True)

    def _count(self, change: int) -> int:
        with self._counting:
            self._claiming += change
            return self._claiming

    @property
    def is_claiming(self) -> bool:
        """Whether a thread of this process claims from the queue, or does what it claimed."""
        return self._claiming > 0

    def _leaves_to_another(self) -> bool:
        """Tells whether another thread may go on alone: a second claimer would make small batches even smaller."""
        if self._count(0) == 1:
            return False
        self._woken.set()  # the other thread looks for work that this one has not seen
        return True

    def tell(self) -> bool:
        """Tells a claimer of this process that more is due; returns False when none is working.

        A claimer reads the flag after it has stopped counting itself, so a claimer that is about to stop wakes the
        queue.
        """
        self._woken.set()
        return self._claiming > 0

    def _work_until(self, deadline: float) -> None:
        while not STOPPING.is_set() and not DRAINING.is_set() and self.ready():
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

    def _claim_and_do(self) -> tuple[list[ClaimedRow[ColumnsT]], bool]:
        """Claims and does one batch; returns the rows claimed, and whether some of them were given back."""
        with CLAIMING:
            rows = self._claim()
            if any(row.rescues >= LAST_RESCUE for row in rows):
                return rows, bool(self.do_batch(rows))
        if len(rows) >= self.size:
            WAKER.wake_soon(self.queue)  # more is waiting than one claimer takes: wake others, in every process
        return rows, bool(rows and self.do_batch(rows))

    def _claim(self) -> list[ClaimedRow[ColumnsT]]:
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


IN_THIS_PROCESS: Final[dict[str, Claimer[Any]]] = {}
"""The claimer of each queue in this process."""


def wake_here(queue: str) -> None:
    """Tells a working claimer of this process that something is due; without one, wakes the queue in any process."""
    claimer = IN_THIS_PROCESS.get(queue)
    if claimer is None or not claimer.tell():
        WAKER.wake_soon(queue)


TellEnded = Callable[[Session, Collection[UUID]], None]
"""Tells portals that rows have ended; of those that go on it tells nothing."""


class BatchRun(Generic[ColumnsT]):
    """One claimed batch while `work` does it: the rows committed, the lanes postponed, and the errors so far.

    Parameters:
      tell: tells portals of rows that failed for good, where they are no jobs; it is called in that transaction.
    """

    def __init__(self, ledger: Ledger[ColumnsT], work: DoWork[ColumnsT], tell: TellEnded | None = None) -> None:
        self.ledger = ledger
        self.work = work
        self.tell = tell
        self.failing: Counter[str] = Counter()
        self.done: set[UUID] = set()
        self.postponed: set[UUID] = set()  # lanes with an order: none of their later rows may be done before

    def run(self, rows: Sequence[ClaimedRow[ColumnsT]]) -> bool:
        """Does the rows in one transaction; after an error it halves them, until the failing row is alone.

        Returns: True when all rows were committed at once.
        """
        behind = [row for row in rows if row.lane in self.postponed]
        if behind:
            give_back(self.ledger, behind)
            if rest := [row for row in rows if row.lane not in self.postponed]:
                self.run(rest)
            return False
        if self._systemic():
            self._postpone(rows, Transient("others of the batch failed alike", seconds=30))
            return False
        held: Sequence[ClaimedRow[ColumnsT]] = ()
        try:
            with transaction() as session:
                held = books.hold(session, self.ledger, rows)
                outcomes = self.work(session, held)
                books.finish(session, self.ledger, outcomes)
                if self.ledger is JOBS:
                    tell_finished(session, cast("Sequence[ClaimedRow]", held), outcomes)
        except Exception as error:  # noqa: BLE001 - the outermost edge: whatever it is, the rows must not be lost
            self._failed(rows, error, begun=bool(held))
            return False
        self.done |= {row.id for row in held}
        excuse(self.ledger, [row for row in rows if row.id not in self.done])
        for queue in books.queues_to_wake(session):
            wake_here(queue)
        log.info("work.done", ledger=self.ledger.table, rows=_names(rows), count=len(rows))
        return True

    def _systemic(self) -> bool:
        return any(count >= SYSTEMIC for count in self.failing.values())

    def _failed(self, rows: Sequence[ClaimedRow[ColumnsT]], error: Exception, *, begun: bool) -> None:
        # The work itself may break its connection. A row that does so each time must be found and have its failures
        # counted, or it would make its neighbours fail for ever.
        breaks = begun and lost_connection(error)
        lanes = books.by_lane(rows)
        if is_lock_timeout(error) and len(lanes) > 1:
            self._run_lanes(lanes)
        elif not breaks and (isinstance(error, Transient) or is_transient(error)):
            self._postpone(rows, error)
        elif len(rows) > 1:
            for half in books.halves(rows):
                self.run(half)
        elif cannot_read(error):
            self._wait_for_release(rows[0], error)
        elif isinstance(error, NotConfigured):  # one row needs the setting, or all do: the third failure decides
            self.failing[type(error).__name__] += 1
            self._postpone(rows, error)
        else:
            self.failing[type(error).__name__] += 1
            self._fail(rows[0], error)

    def _run_lanes(self, lanes: Sequence[Sequence[ClaimedRow[ColumnsT]]]) -> None:
        """Does lanes one by one: one contract is locked, and the others need not wait for it.

        Each locked one takes a while. Those that are not reached in time are given back, before their leases run out.
        """
        deadline = time.monotonic() + LANES_SECONDS
        for number, lane in enumerate(lanes):
            if time.monotonic() > deadline:
                give_back(self.ledger, [row for later in lanes[number:] for row in later])
                return
            self.run(lane)

    def _wait_for_release(self, row: ClaimedRow[ColumnsT], error: Exception) -> None:
        """Postpones a row that this release cannot read, for a day at most; then it is dead, with this reason.

        Its lane waits for it only while another release runs: without one it would wait for the whole day.
        """
        if row.postponed_for < UNREAD_SECONDS:
            log.warning("work.postponed", ledger=self.ledger.table, rows=_names([row]), exc_info=error)
            with _unless_away("setback.not_recorded", self.ledger) as session:
                waits = books.another_release_runs(session)
                [setback] = _postponements(self.ledger, [row], error, 0.0)
                books.set_back(session, self.ledger, [replace(setback, keeps_place=waits)])
                if waits and self.ledger.one_claimer_per_lane:
                    self.postponed.add(row.lane)
            return
        log.error("work.unreadable", ledger=self.ledger.table, rows=_names([row]), exc_info=error)
        reason = describe(error) | {"reason": UNREADABLE}
        self._set_back(FailedAttempt(row.id, row.claim, self.ledger.dead, None, "dead", reason))

    def _postpone(self, rows: Sequence[ClaimedRow[ColumnsT]], error: Exception) -> None:
        """Postpones the first row of each lane and gives the others back: the lane waits for its first row.

        Without an order in their lanes all rows are postponed.
        """
        log.warning("work.postponed", ledger=self.ledger.table, rows=_names(rows), exc_info=error)
        first, behind = rows, []
        if self.ledger.one_claimer_per_lane:
            lanes = books.by_lane(rows)
            first, behind = [lane[0] for lane in lanes], [row for lane in lanes for row in lane[1:]]
            self.postponed |= {row.lane for row in rows}
        postpone(self.ledger, first, error, behind=behind)

    def _fail(self, row: ClaimedRow[ColumnsT], error: Exception) -> None:
        policy = retry_policy(row.columns.kind)
        jitter = random.random()  # noqa: S311 - spreads load, guards nothing
        seconds = None if isinstance(error, Permanent) else policy.seconds_after(row.failures + 1, jitter)
        log.error("work.failed", ledger=self.ledger.table, rows=_names([row]), dead=seconds is None, exc_info=error)
        state, outcome = (self.ledger.dead, "dead") if seconds is None else (self.ledger.waiting, "retry")
        self._set_back(FailedAttempt(row.id, row.claim, state, seconds, outcome, describe(error)))

    def _set_back(self, setback: FailedAttempt) -> None:
        set_back(self.ledger, [setback], self.tell)


@contextmanager
def counting_failures(row: ClaimedRow) -> Iterator[None]:
    """Lets an error of the block, which has no transaction, count as a failure of this job inside one would.

    So the job is tried again, postponed or ended by the rules of ``BatchRun``.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the outermost edge: whatever it is, the row must not be lost
        failed = error
    else:
        return

    def fail(_: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
        if held:
            raise failed
        return ()

    BatchRun(JOBS, fail).run([row])


def _names(rows: Sequence[ClaimedRow[Claimed]]) -> list[str]:
    """Lists rows in the form that logs use: identifier and attempt."""
    return [f"{row.id}#{row.claim}" for row in rows]


@contextmanager
def _unless_away(event: str, ledger: Ledger[Claimed]) -> Iterator[Session]:
    """Opens a transaction; a transient fault is logged, and the rows become due again when their leases run out."""
    try:
        with transaction() as session:
            yield session
    except Exception as error:
        if not is_transient(error):
            raise
        log.warning(event, ledger=ledger.table, exc_info=error)


def set_back(ledger: Ledger[Claimed], setbacks: Sequence[FailedAttempt], tell: TellEnded | None = None) -> None:
    """Commits failed attempts.

    Parameters:
      tell: tells portals of the rows that ended by it; of jobs they are told in any case.
    """
    told = tell_ended if ledger is JOBS else tell
    with _unless_away("setback.not_recorded", ledger) as session:
        books.set_back(session, ledger, setbacks)
        if told is not None:
            told(session, [one.id for one in setbacks if one.seconds is None])


def postpone(
    ledger: Ledger[Claimed],
    rows: Sequence[ClaimedRow[Claimed]],
    error: Exception,
    *,
    behind: Sequence[ClaimedRow[Claimed]] = (),
    least: float = 0.0,
) -> None:
    """Commits a postponement, with a pause that grows while the work is postponed again and again.

    Parameters:
      behind: rows that wait behind these in their lanes; they are given back in the same transaction.
      least: the first pause, in seconds, if the error names no longer one.
    """
    with _unless_away("setback.not_recorded", ledger) as session:
        if behind:
            books.hold(session, ledger, [*rows, *behind])  # all rows in one order, as every statement locks them
            books.give_back(session, ledger, behind)
        books.set_back(session, ledger, _postponements(ledger, rows, error, least))


def _postponements(
    ledger: Ledger[Claimed], rows: Sequence[ClaimedRow[Claimed]], error: Exception, least: float
) -> list[FailedAttempt]:
    unread = cannot_read(error)
    first = LONG_PAUSE if unread or isinstance(error, NotConfigured) else getattr(error, "seconds", SHORT_PAUSE)
    jitter = random.random()  # noqa: S311 - spreads load, guards nothing
    # Without the traceback: it may be postponed for hours.
    reason = describe(error) | {"traceback": ""} | _reason(error)
    pauses = [postpone_seconds(max(least, first), row.postponements, jitter) for row in rows]
    return [
        FailedAttempt(row.id, row.claim, ledger.waiting, pause, POSTPONED, reason, counts=False)
        for row, pause in zip(rows, pauses, strict=True)
    ]


def _reason(error: Exception) -> dict[str, str]:
    """Names the reason of a postponement in a word, if its class does not say it."""
    if cannot_read(error):
        return {"reason": UNREADABLE}
    return {"reason": LOCKED} if is_lock_timeout(error) else {}


def give_back(ledger: Ledger[Claimed], rows: Sequence[ClaimedRow[Claimed]]) -> None:
    """Gives back claimed rows that were not begun, so that any process can claim them again."""
    with _unless_away("rows.not_given_back", ledger) as session:
        books.give_back(session, ledger, rows)
