"""Lets operators pause a queue, or lanes of it, until a moment, and end a pause; the audit trail keeps who and why.

Claims pass over what is paused (``workers/engine/pauses.py``), and the clock wakes a queue when its pause has ended.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, text
from sqlmodel import col, select, update

from models.contract import Company, Contract
from models.job import WAITING_IN_TIME
from models.portal import LOCAL_PORTAL_ID, Portal
from models.queue_pause import PauseRefusal, QueuePause, judge_end
from workers.audit import record
from workers.database import Session
from workers.engine.ledger import LEDGERS
from workers.engine.pauses import IN_FORCE
from workers.ops.capped import CappedNumber, StatusCaps, first_rows
from workers.requests.base import lane_id
from workers.requests.queues import Queue
from workers.sql import as_json, change, fetch

OF_CONTRACTS: Final = (Queue.ENROLLMENTS, Queue.ROSTERS)
"""The queues with lanes of contracts."""

OF_COMPANIES: Final = (Queue.EMAILS, Queue.EMAILS_BULK)
"""The queues with lanes of companies. On the others a lane is one participant, or one account."""

# Lets one operator at a time change pauses, so that a queue or a lane has one pause in force at most.
LOCK_PAUSES = text("SELECT pg_advisory_xact_lock(hashtextextended('queue_pause', 0))")

_IN_LANES: Final = " + ".join(
    first_rows(
        f"{ledger.table} t", f"t.queue = qp.queue AND t.lane = qp.lane AND {WAITING_IN_TIME}", f"t.{ledger.order}"
    )
    for ledger in LEDGERS
)

# Reads the pauses in force, those of whole queues first; of a lane with the jobs or mails that wait in it.
READ_PAUSES = text(f"""
    SELECT qp.queue, qp.lane, qp.portal, qp.reference, qp.reason, qp.paused_by, qp.since, qp.until,
      extract(epoch FROM qp.until - now())::float8 AS seconds_left,
      CASE WHEN qp.lane IS NULL THEN 0 ELSE {_IN_LANES} END AS waiting
    FROM queue_pause qp WHERE {IN_FORCE} ORDER BY qp.queue, qp.lane NULLS FIRST""")


class PauseTarget(NamedTuple):
    """A queue, or lanes of it, as an operator names them.

    Parameters:
      references: of contracts on queues of jobs, of companies on queues of mails; none for the whole queue.
      portal: the portal that the references belong to.
    """

    queue: str
    references: Sequence[str] = ()
    portal: str = ""


class PauseInForce(NamedTuple):
    """A pause that has not ended; `waiting` counts what waits in its lane, and is 0 for a whole queue."""

    queue: str
    lane: UUID | None
    portal: str | None
    reference: str | None
    reason: str
    paused_by: str
    since: datetime
    until: datetime
    seconds_left: float
    waiting: int


class _Lane(NamedTuple):
    lane: UUID | None = None
    portal: str | None = None
    reference: str | None = None


def pause_queue(
    session: Session, target: PauseTarget, *, end: datetime | timedelta, requested_by: str, reason: str
) -> datetime | PauseRefusal:
    """Pauses a queue or lanes of it; a pause of the same that is in force ends, and this one takes its place.

    Parameters:
      end: the moment at which the pause ends, or the time after which it does.

    Returns: the moment at which it ends.
    """
    session.execute(LOCK_PAUSES)
    now = session.exec(select(func.now())).one()
    until = now + end if isinstance(end, timedelta) else end
    found = judge_end(now, until) or _find_lanes(session, target)
    if isinstance(found, PauseRefusal):
        return found
    for lane in found:
        _end(session, target.queue, lane)
        pause = QueuePause(
            queue=target.queue, **lane._asdict(), reason=reason, paused_by=requested_by, since=now, until=until
        )
        session.add(pause)
        detail = _detail(target.queue, lane, reason) | {"until": until.isoformat()}
        record(session, "pause_queue", portal_id=LOCAL_PORTAL_ID, requested_by=requested_by, detail=detail)
    return until


def resume_queue(session: Session, target: PauseTarget, *, requested_by: str, reason: str) -> PauseRefusal | None:
    """Ends the pause of a queue, or of lanes of it; the caller wakes the queue after the commit.

    A pause of the whole queue and those of its lanes are ended apart.
    """
    session.execute(LOCK_PAUSES)
    if target.queue not in [*Queue]:
        return PauseRefusal.UNKNOWN_QUEUE
    lanes = [_Lane(None, target.portal, one) for one in target.references] or [_Lane()]
    known = {(one.portal, one.reference) for one in _in_force(session, target.queue)}
    if any((lane.portal, lane.reference) not in known for lane in lanes):
        return PauseRefusal.NOT_PAUSED
    for lane in lanes:
        _end(session, target.queue, lane)
        detail = _detail(target.queue, lane, reason)
        record(session, "resume_queue", portal_id=LOCAL_PORTAL_ID, requested_by=requested_by, detail=detail)
    return None


def read_pauses(session: Session, caps: StatusCaps) -> list[dict[str, Any]]:
    """Reads the pauses in force, as JSON."""
    found = fetch(session, PauseInForce, READ_PAUSES, {"rows": caps.rows})
    return [_shown(pause, CappedNumber.of(pause.waiting, caps.rows)) for pause in found]


def _shown(pause: PauseInForce, waiting: CappedNumber) -> dict[str, Any]:
    reached = {"at_least": True} if waiting.at_least else {}
    return as_json(pause._replace(waiting=waiting.number)) | reached


def _in_force(session: Session, queue: str) -> Sequence[QueuePause]:
    return session.exec(select(QueuePause).where(QueuePause.queue == queue, col(QueuePause.until) > func.now())).all()


def _end(session: Session, queue: str, lane: _Lane) -> None:
    change(
        session,
        update(QueuePause)
        .where(
            col(QueuePause.queue) == queue,
            col(QueuePause.portal).is_not_distinct_from(lane.portal),
            col(QueuePause.reference).is_not_distinct_from(lane.reference),
            col(QueuePause.until) > func.now(),
        )
        .values(until=func.now()),
    )


def _find_lanes(session: Session, target: PauseTarget) -> list[_Lane] | PauseRefusal:
    """Finds the lanes that an operator names; one without a name stands for the whole queue."""
    if target.queue not in [*Queue]:
        return PauseRefusal.UNKNOWN_QUEUE
    if not target.references:
        return [_Lane()]
    if target.queue not in OF_CONTRACTS + OF_COMPANIES:
        return PauseRefusal.NO_LANES
    found = [_find_lane(session, target, reference) for reference in dict.fromkeys(target.references)]
    lanes = [lane for lane in found if lane is not None]
    return lanes if len(lanes) == len(found) else PauseRefusal.UNKNOWN_LANE


def _find_lane(session: Session, target: PauseTarget, reference: str) -> _Lane | None:
    named = Company if target.queue in OF_COMPANIES else Contract
    statement = (
        select(named.id, named.portal_id)
        .join(Portal, col(Portal.id) == named.portal_id)
        .where(Portal.name == target.portal, named.reference == reference)
    )
    row = session.exec(statement).one_or_none()
    if row is None:
        return None
    owner, portal_id = row
    lane = owner if named is Company else lane_id(portal_id, f"contract:{reference}")
    return _Lane(lane, target.portal, reference)


def _detail(queue: str, lane: _Lane, reason: str) -> dict[str, str | None]:
    """Returns what the audit trail keeps: the queue, its lane if it is one, and why."""
    named = {"portal": lane.portal, "reference": lane.reference} if lane.reference else {}
    return {"queue": queue, **named, "reason": reason}


__all__ = ["PauseTarget", "pause_queue", "read_pauses", "resume_queue"]
