"""Lists the longest lanes of a queue and what runs on it, with the contract or company of each."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select

from models.contract import Company
from models.job import WAITING_IN_TIME
from models.portal import Portal
from workers.database import Session
from workers.engine.ledger import EMAILS, LEDGERS
from workers.ops.capped import CAPS, read_by_index
from workers.ops.waiting import name_contracts
from workers.sql import fetch

SHOWN: Final = 20

# Finds the lanes in which most waits, among the rows of a queue that are due first.
READ_LANES: Final = {
    ledger.table: text(f"""
        SELECT d.lane, CAST(count(*) AS int) AS waiting, min(d.due_at) AS oldest, (array_agg(d.id))[1] AS one
        FROM (SELECT t.lane, t.due_at, t.id FROM {ledger.table} t WHERE t.queue = :queue AND {WAITING_IN_TIME}
          ORDER BY t.due_at LIMIT CAST(:rows AS bigint)) d
        GROUP BY d.lane ORDER BY count(*) DESC, min(d.due_at), d.lane LIMIT {SHOWN}""")
    for ledger in LEDGERS
}

# Finds what is being done on a queue, and by which process.
READ_RUNNING: Final = {
    ledger.table: text(f"""
        SELECT '{ledger.table}' AS ledger, t.id, t.kind, t.started_at, t.leased_until, pr.host, pr.pid
        FROM {ledger.table} t LEFT JOIN process pr ON pr.id = t.worker
        WHERE t.queue = :queue AND t.leased_until IS NOT NULL
        ORDER BY t.lane LIMIT {5 * SHOWN}""")
    for ledger in LEDGERS
}


class _Lane(NamedTuple):
    lane: UUID
    waiting: int
    oldest: datetime
    one: UUID


class LongLane(NamedTuple):
    """A lane with much that waits.

    Parameters:
      name: the reference of its contract or company; empty for the lane of a person or of a portal.
      portal: the portal of a company.
      oldest: when its first job or mail was due.
      one: the identifier of one of its jobs or mails.
    """

    lane: UUID
    waiting: int
    oldest: datetime
    name: str
    portal: str
    one: UUID


class RunningWork(NamedTuple):
    """A job or mail that is being done, and the process that does it; None for one that is gone."""

    ledger: str
    id: UUID
    kind: str
    started_at: datetime | None
    leased_until: datetime
    host: str | None
    pid: int | None


def read_lanes(session: Session, queue: str) -> list[LongLane]:
    """Lists the longest lanes of a queue, among what is due first (``CAPS``)."""
    read_by_index(session)
    found = []
    for ledger in LEDGERS:
        lanes = fetch(session, _Lane, READ_LANES[ledger.table], {"queue": queue, "rows": CAPS.rows})
        names = _companies(session, lanes) if ledger is EMAILS else _contracts(session, lanes)
        found += [LongLane(*one[:3], *names.get(one.lane, ("", "")), one.one) for one in lanes]
    return sorted(found, key=lambda one: -one.waiting)[:SHOWN]


def read_running(session: Session, queue: str) -> list[RunningWork]:
    """Lists what is being done on a queue, what began first."""
    read_by_index(session)
    found = [
        one for ledger in LEDGERS for one in fetch(session, RunningWork, READ_RUNNING[ledger.table], {"queue": queue})
    ]
    return sorted(found, key=lambda one: (one.started_at is None, one.started_at or one.leased_until))


def _contracts(session: Session, lanes: list[_Lane]) -> dict[UUID, tuple[str, str]]:
    found = name_contracts(session, [one.one for one in lanes])
    return {lane: (reference, "") for lane, reference in found.items()}


def _companies(session: Session, lanes: list[_Lane]) -> dict[UUID, tuple[str, str]]:
    named = (
        select(Company.id, Company.reference, Portal.name)
        .join(Portal, col(Portal.id) == Company.portal_id)
        .where(col(Company.id).in_([one.lane for one in lanes]))
    )
    return {lane: (reference, portal) for lane, reference, portal in session.exec(named)} if lanes else {}


__all__ = ["LongLane", "RunningWork", "read_lanes", "read_running"]
