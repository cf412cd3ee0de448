"""Decides why a job or a mail waits: the first of these reasons that holds, from the one that lasts longest.

It ended; a process does it; no release that runs knows it; no process serves its queue, or those that do are stuck or
drained; its queue or its lane is paused; the relay is left alone; it is due later, after a failure or a postponement or
by plan; its lane is held, its head is postponed, or others of the lane come before it; else it waits for its turn.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class WaitingCode(StrEnum):
    """The reason why a job or a mail waits."""

    ENDED = "ended"  # it waits no more
    RUNNING = "running"
    UNKNOWN_KIND = "unknown_kind"
    STUCK_PROCESS = "stuck_process"  # every process that serves its queue works no more
    DRAINED = "drained"  # an operator drains every process that serves its queue
    NO_PROCESS = "no_process"
    PAUSED = "paused"
    RELAY_RESTS = "relay_rests"
    POSTPONED = "postponed"
    RETRY = "retry"
    DUE_LATER = "due_later"
    LANE_RUNNING = "lane_running"
    LANE_POSTPONED = "lane_postponed"
    IN_LANE = "in_lane"
    IN_TURN = "in_turn"


@dataclass(frozen=True, slots=True)
class WaitingFacts:
    """The facts about a row of the ledger by which its waiting is judged.

    Parameters:
      is_known: a release that runs can read it.
      served: a process that is alive and works serves its queue, and takes work.
      stuck: a process that is alive would serve it, but works no more.
      drained: a process that is alive would serve it, but an operator lets it take nothing new.
      paused_until: when the pause of its queue or its lane ends; None when neither is paused.
      rests_until: for mails, the moment at which the first mailer may send again; None while one may send now.
      postponed: its last attempt met a fault around it.
      lane_running: another row of its lane is being done.
      lane_postponed_until: when the postponed row that holds the place before it is due; None without one.
      before_in_lane: due rows of its lane that come before it.
    """

    now: datetime
    finished_at: datetime | None
    leased_until: datetime | None
    due_at: datetime | None
    failures: int
    postponed: bool
    is_known: bool = True
    served: bool = True
    stuck: bool = False
    drained: bool = False
    paused_until: datetime | None = None
    rests_until: datetime | None = None
    lane_running: bool = False
    lane_postponed_until: datetime | None = None
    before_in_lane: int = 0


@dataclass(frozen=True, slots=True)
class WaitingReason:
    """The reason why a row waits, and the moment at which that ends, when it is known."""

    code: WaitingCode
    until: datetime | None = None


def why_it_waits(facts: WaitingFacts) -> WaitingReason:
    """Returns the first reason that holds."""
    if facts.due_at is None and facts.leased_until is None:
        return WaitingReason(WaitingCode.ENDED)
    if facts.leased_until is not None:
        return WaitingReason(WaitingCode.RUNNING)
    return _of_what_serves(facts) or _of_time(facts) or _of_lane(facts) or WaitingReason(WaitingCode.IN_TURN)


def _of_what_serves(facts: WaitingFacts) -> WaitingReason | None:
    if not facts.is_known:
        return WaitingReason(WaitingCode.UNKNOWN_KIND)
    if not facts.served:
        unserved = WaitingCode.DRAINED if facts.drained else WaitingCode.NO_PROCESS
        return WaitingReason(WaitingCode.STUCK_PROCESS if facts.stuck else unserved)
    if _lasts_until(facts, facts.paused_until):
        return WaitingReason(WaitingCode.PAUSED, facts.paused_until)
    if _lasts_until(facts, facts.rests_until):
        return WaitingReason(WaitingCode.RELAY_RESTS, facts.rests_until)
    return None


def _lasts_until(facts: WaitingFacts, end: datetime | None) -> bool:
    """Tells whether what ends at this moment lasts now, and the row is not due even later."""
    return end is not None and end > facts.now and (facts.due_at is None or facts.due_at <= end)


def _of_time(facts: WaitingFacts) -> WaitingReason | None:
    if facts.due_at is None or facts.due_at <= facts.now:
        return None
    if facts.postponed:
        return WaitingReason(WaitingCode.POSTPONED, facts.due_at)
    return WaitingReason(WaitingCode.RETRY if facts.failures else WaitingCode.DUE_LATER, facts.due_at)


def _of_lane(facts: WaitingFacts) -> WaitingReason | None:
    if facts.lane_running:
        return WaitingReason(WaitingCode.LANE_RUNNING)
    if facts.lane_postponed_until is not None and facts.lane_postponed_until > facts.now:
        return WaitingReason(WaitingCode.LANE_POSTPONED, facts.lane_postponed_until)
    return WaitingReason(WaitingCode.IN_LANE) if facts.before_in_lane else None


def estimated_seconds(ahead: int, ended: int, *, within: float) -> float | None:
    """Returns the seconds until the rows ahead and this one are done; None when nothing ended lately.

    Parameters:
      ended: the rows of the queue that ended within the last `within` seconds.
    """
    return (ahead + 1) * within / ended if ended else None
