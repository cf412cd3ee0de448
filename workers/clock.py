"""The clock wakes queues with due work, rescues rows with an expired lease, and fires schedules. Two run; one leads.

Every tick is safe to run twice: wake-ups are debounced, rescues skip locked rows, and a schedule's slot has one key. So
a leader that froze and resumes late does no harm.
"""

import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from cronsim import CronSimError
from sqlalchemy import func, text
from sqlmodel import col, select, update

from models.base import new_id
from models.job import UNREAD_SECONDS
from models.portal import LOCAL_PORTAL_ID
from models.schedule import Schedule
from workers.database import Session, autocommit, is_transient, transaction
from workers.engine import ledger as books
from workers.engine.acceptance import accept_internal
from workers.engine.broker import wake
from workers.engine.draining import Drain
from workers.engine.heartbeat import Heartbeat
from workers.engine.job_events import tell_ended
from workers.engine.ledger import JOBS, LEDGERS, MAX_RESCUES, Claimed, Ledger
from workers.engine.rollout import newer_release_runs
from workers.engine.set_back import (
    FURTHEST_TERM,
    SECONDS_AHEAD,
    TERM_SECONDS,
    TOLERANCE_SECONDS,
    put_times_right,
    seconds_ahead,
)
from workers.engine.slots import next_slot
from workers.engine.stopping import DRAINING
from workers.engine.wake import WAKER
from workers.engine.watchdog import ENDED_ITSELF, HeartbeatGuard, ProcessWatch, Turns
from workers.errors import InvalidRequest
from workers.logs import configure_logs, get_logger
from workers.ops.actions_parts import carry_out_due
from workers.ops.folding import count_as_leader
from workers.outbox.events import tell_undeliverable
from workers.requests.registry import parse
from workers.settings import get_settings
from workers.signs import SIGNS
from workers.sql import change, fetch_one, fetch_value

log = get_logger()

ResultT = TypeVar("ResultT")

TICK_SECONDS: Final = 1.0
SEARCH_SECONDS: Final = 60.0
"""Seconds between two searches for what is rare and dear to find: work of unknown kinds, which reads the index of all
that waits, and schedules that were planned for another time than their next slot.
"""

FAILURE_SECONDS: Final = 30.0
"""Seconds before a step beside the rounds is begun again that failed for a reason that is no passing one."""

# One of two clocks has the row; the other takes it after the lease of the first has run out, or when it cannot be.
TAKE_LEAD = text("""
    INSERT INTO clock AS cl (name, holder, until) VALUES ('clock', :me, now() + make_interval(secs => :term))
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE cl.holder = excluded.holder OR cl.until < now() OR cl.until > now() + make_interval(secs => :furthest)
    RETURNING holder""")

LOST_WORK: Final = " OR ".join(f"EXISTS (SELECT FROM {one.table} WHERE leased_until < now())" for one in LEDGERS)

DUE_QUEUES: Final = " UNION ".join(f"({one.due_sql.text})" for one in LEDGERS)

# Renews the lease of the clock that leads and tells what there is to do; one statement, for it runs each second. It
# renews nothing if the clock of the database was ahead, because a new lease would hide that.
RENEW_LEAD = text(f"""
    WITH led AS (
      UPDATE clock SET until = now() + make_interval(secs => :term)
      WHERE holder = :me AND ({SECONDS_AHEAD}) <= CAST(:tolerance AS float8)
      RETURNING holder)
    SELECT {LOST_WORK} AS lost,
      EXISTS (SELECT FROM schedule WHERE NOT paused AND coalesce(next_run_at <= now(), true)) AS scheduled,
      ARRAY({DUE_QUEUES}) AS due,
      EXISTS (SELECT FROM ops_action WHERE due_at <= now()) AS acting
    FROM led""")

# Ends the lease of this clock; the row stays, for it says when the clock of the database was ahead.
END_LEAD = text("UPDATE clock SET until = now() - interval '1 second' WHERE holder = :me")


class WorkForClock(NamedTuple):
    """The work that the leading clock found for itself.

    Parameters:
      lost: there are rows with an expired lease.
      scheduled: a schedule is due, or not planned yet.
      due: the queues that have due work.
      acting: a part of an action of operators is due.
    """

    lost: bool
    scheduled: bool
    due: Sequence[str]
    acting: bool = False


def lead(session: Session, me: UUID) -> bool:
    """Takes or renews the lead; returns False while another clock has it."""
    return fetch_value(session, UUID, TAKE_LEAD, {"me": me, "term": TERM_SECONDS, "furthest": FURTHEST_TERM}) == me


def renew_lead(session: Session, me: UUID) -> WorkForClock | None:
    """Renews the lead; returns None if this clock does not lead, or if times are to be put right first."""
    given = {"me": me, "term": TERM_SECONDS, "tolerance": TOLERANCE_SECONDS}
    return fetch_one(session, WorkForClock, RENEW_LEAD, given)


def resign(me: UUID) -> None:
    """Gives the lead up at once, so that another clock need not wait until the lease runs out."""
    with transaction() as session:
        change(session, END_LEAD, {"me": me})


def tick(me: UUID, wake_queue: Callable[[str], None] = wake) -> bool:
    """Does one round, if this clock leads. Each step commits by itself, and queues are woken after the last commit.

    Parameters:
      wake_queue: a function that wakes a queue; it must not wait for long, or this clock loses the lead.

    Returns: True when a part of an action of operators is due, which is carried out beside the rounds.
    """
    with autocommit() as session:
        found = renew_lead(session, me)
    found = found or _take_lead(me)
    if found is None:
        return False
    if found.lost:
        _rescue()
    if found.scheduled:
        _fire()
    due = set(found.due)
    if found.lost or found.scheduled:  # what was rescued or recorded is due now
        with transaction() as session:
            due = books.due_queues(session)
    for queue in due:
        wake_queue(queue)
    return found.acting


def _take_lead(me: UUID) -> WorkForClock | None:
    """Takes the lead if it is free, and puts times right after the clock of the database was ahead."""
    with transaction() as session:
        ahead = seconds_ahead(session)
        if not lead(session, me):
            return None
        # In the same transaction: a new lease removes what tells that the clock was ahead.
        moved = put_times_right(session, ahead) if ahead else {}
    if ahead:
        log.error("clock.was_ahead", seconds=round(ahead), moved=moved)
    return WorkForClock(lost=True, scheduled=True, due=())


def _rescue() -> None:
    """Rescues work with an expired lease; each ledger commits by itself."""
    for ledger in LEDGERS:
        with transaction() as session:
            rescued = books.rescue(session, ledger)
            _tell(session, ledger, [row.id for row in rescued if row.rescues >= MAX_RESCUES])
        for row in rescued:
            log.warning("work.rescued", ledger=ledger.table, rows=[str(row.id)], rescues=row.rescues)


def _tell(session: Session, ledger: Ledger[Claimed], ended: Collection[UUID]) -> None:
    """Tells portals of jobs and mails that ended by this."""
    (tell_ended if ledger is JOBS else tell_undeliverable)(session, ended)


def _fire() -> None:
    with transaction() as session:
        fire_schedules(session)


def bury_unknown() -> None:
    """Ends work as dead that waits for a day because no release that runs knows its kind.

    A clock of an older release leaves that to the newer one, which knows more.
    """
    with transaction() as session:
        if newer_release_runs(session):
            return
    for ledger in LEDGERS:
        with transaction() as session:
            buried = books.bury(session, ledger, seconds=UNREAD_SECONDS)
            _tell(session, ledger, buried)
        if buried:
            log.error("work.unknown_kind", ledger=ledger.table, rows=[str(row_id) for row_id in buried])


def fire_schedules(session: Session) -> list[str]:
    """Records a job for each schedule that is due, one per slot; returns the names of the schedules that fired.

    Slots missed while no clock ran are not repeated one by one: the schedule fires once and then goes on. A slot that
    lies behind the next one of its cron expression was planned while the clock was ahead: it is planned anew. A
    schedule that cannot be read is logged at each round and does not delay the others.
    """
    fired = []
    for schedule, now in session.exec(select(Schedule, func.now()).where(~col(Schedule.paused))).all():
        try:
            if _fire_one(session, schedule, now):
                fired.append(schedule.name)
        except (CronSimError, InvalidRequest) as error:
            log.exception("schedule.not_fired", schedule=schedule.name, exc_info=error)
    return fired


def _fire_one(session: Session, schedule: Schedule, now: datetime) -> bool:
    slot, following = schedule.next_run_at, next_slot(schedule.cron, now)
    if slot is not None and now < slot <= following:
        return False
    if slot is not None and slot > following:
        log.error("schedule.time_void", schedule=schedule.name, planned=slot.isoformat(), instead=following.isoformat())
    body = json.dumps(schedule.request or {})
    # Read before the slot is taken: a kind of a newer release is left for its clock to fire.
    request = parse(schedule.kind, body, internal=True)
    moving: dict[str, Any] = {"next_run_at": following}
    due = slot is not None and slot <= now
    if due:
        moving["last_run_at"] = func.now()
    # Compare-and-swap: when two clocks saw the same slot, only one of them moves it on.
    same_slot = (col(Schedule.name) == schedule.name, col(Schedule.next_run_at).is_not_distinct_from(slot))
    if not change(session, update(Schedule).where(*same_slot).values(moving)) or slot is None or not due:
        return False
    key = f"schedule:{schedule.name}:{slot.astimezone(UTC).isoformat()}"
    accept_internal(session, LOCAL_PORTAL_ID, request, body, key=key)
    return True


class RunningClock:
    """The rounds of a clock process, and what it does beside them.

    Parameters:
      me: the identifier of this process.
    """

    def __init__(self, me: UUID) -> None:
        self.me = me
        self.rounds = Turns("rounds of the clock", math.inf)  # a round ends the process if it gives no sign
        self._searched_at = time.monotonic()
        self._counting: threading.Thread | None = None
        self._acting: threading.Thread | None = None
        self._may_lead = False

    def round(self) -> None:
        """Does a round; while an operator lets this process take nothing new, another clock leads."""
        if DRAINING.is_set():
            self.resign()
            return
        self._may_lead = True
        with SIGNS.during("round of the clock"):
            self._round()

    def _round(self) -> None:
        self.rounds.begin()
        if _unless_postponed(lambda: tick(self.me, WAKER.wake_soon)):
            self._acting = act_beside(self._acting)
        if time.monotonic() - self._searched_at >= SEARCH_SECONDS:
            _unless_postponed(bury_unknown)
            _unless_postponed(_fire)
            self._counting = count_beside(self.me, self._counting)
            self._searched_at = time.monotonic()
        self.rounds.rest()

    def resign(self) -> None:
        """Gives the lead up, if this clock may have it."""
        if self._may_lead and _unless_postponed(lambda: _resigned(self.me)):
            self._may_lead = False

    def holds_work(self, _: float = 0.0) -> bool:
        """Tells whether this clock may lead, or still does something beside its rounds."""
        return self._may_lead or any(one is not None and one.is_alive() for one in (self._counting, self._acting))


def _resigned(me: UUID) -> bool:
    resign(me)
    return True


def run() -> None:
    """Ticks until SIGTERM or SIGINT.

    Raises: SystemExit when the process ends because it works no more.
    """
    configure_logs(get_settings().log_level)
    me, stopping = new_id(), threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopping.set())
    clock = RunningClock(me)
    watch = ProcessWatch(clock.rounds)
    alive = Heartbeat(me, "clock", watch.look, Drain(clock.holds_work), watch.wait_for_database)
    alive.start()
    HeartbeatGuard(alive).start()
    log.info("process.started", queues=["clock"], process=str(me))
    while not stopping.wait(TICK_SECONDS):
        clock.round()
    clock.resign()
    alive.leave()
    if watch.has_ended:
        sys.exit(ENDED_ITSELF)


def count_beside(me: UUID, before: threading.Thread | None) -> threading.Thread:
    """Counts what ended in a thread of its own, because a tick must not wait: after a busy hour it takes seconds.

    Parameters:
      before: the thread that counted last; while it still does, no other is started.

    Returns: the thread that counts. What was not committed when the process ends is counted anew.
    """
    return _beside(lambda: count_as_leader(me), "counting", before)


def act_beside(before: threading.Thread | None) -> threading.Thread:
    """Carries out what is due of actions of operators in a thread of its own; `before` is the last such thread."""
    return _beside(carry_out_due, "acting", before)


def rest_after_failure() -> None:
    """Waits before a step that failed is begun again: its error would be logged each second."""
    threading.Event().wait(FAILURE_SECONDS)


def _beside(step: Callable[[], None], name: str, before: threading.Thread | None) -> threading.Thread:
    """Starts a thread for a step, unless the one before still does it; it does not keep the process from ending."""
    if before is not None and before.is_alive():
        return before

    def do() -> None:
        try:
            with SIGNS.during(name):
                _unless_postponed(step)
        except Exception as error:  # the outermost edge of this thread
            log.exception("clock.step_failed", step=name, exc_info=error)
            rest_after_failure()  # while this thread lives, no other one begins the step

    thread = threading.Thread(target=do, name=name, daemon=True)
    thread.start()
    return thread


def _unless_postponed(step: Callable[[], ResultT]) -> ResultT | None:
    """Does a step; returns what it returns, or None when the database cannot do it now."""
    try:
        return step()
    except Exception as error:
        if not is_transient(error):
            raise
        log.warning("tick.postponed", exc_info=error)
        return None
