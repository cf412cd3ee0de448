"""Searches the ledger: which jobs there are, in which state, and why."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.words import JobState
from workers.database import Session
from workers.ops.capped import read_by_index
from workers.sql import fetch


class FoundJob(NamedTuple):
    """One job of the ledger, without what was asked and without the people of its result.

    Parameters:
      portal: the portal that asked.
      why: the code of its result, or else the class of its last error.
      due_at: when it is tried next; None while it runs and once it is finished.
      failures, rescues: attempts that failed, and leases that ran out.
    """

    id: UUID
    portal: str
    kind: str
    queue: str
    state: str
    why: str | None
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    failures: int
    rescues: int


# Finds the latest jobs with the wanted portal, kind and state. An index holds the jobs of each such group in the order
# of time: the statement jumps from group to group, of which there are few, and reads the end of each that is wanted.
SEARCH_JOBS = text("""
    WITH RECURSIVE g (portal_id, kind, state) AS (
      (SELECT portal_id, kind, state FROM job ORDER BY portal_id, kind, state LIMIT 1)
      UNION ALL
      SELECT n.portal_id, n.kind, n.state FROM g CROSS JOIN LATERAL (
        SELECT j.portal_id, j.kind, j.state FROM job j
        WHERE (j.portal_id, j.kind, j.state) > (g.portal_id, g.kind, g.state)
        ORDER BY j.portal_id, j.kind, j.state LIMIT 1) n),
    latest AS (
      SELECT o.id, p.name AS portal FROM g JOIN portal p ON p.id = g.portal_id CROSS JOIN LATERAL (
        SELECT j.id, j.created_at FROM job j
        WHERE j.portal_id = g.portal_id AND j.kind = g.kind AND j.state = g.state
          AND j.created_at >= CAST(:since AS timestamptz)
        ORDER BY j.created_at DESC, j.id DESC LIMIT CAST(:limit AS bigint)) o
      WHERE CAST(:portal AS text) IN ('', p.name) AND CAST(:kind AS text) IN ('', g.kind)
        AND CAST(:state AS text) IN ('', g.state) AND (CAST(:with_schedules AS boolean)
          OR g.state <> 'succeeded' OR g.kind NOT IN (SELECT s.kind FROM schedule s))
      ORDER BY o.created_at DESC, o.id DESC LIMIT CAST(:limit AS bigint))
    SELECT j.id, l.portal, j.kind, j.queue, j.state,
      coalesce(j.result ->> 'code', j.error ->> 'code', j.error ->> 'class') AS why, j.requested_by, j.created_at,
      j.started_at, j.finished_at, j.due_at, j.failures, j.rescues
    FROM latest l CROSS JOIN LATERAL (SELECT * FROM job j WHERE j.id = l.id LIMIT 1) j
    ORDER BY j.created_at DESC, j.id DESC""")


def search_jobs(
    session: Session,
    *,
    state: JobState | None = None,
    kind: str = "",
    portal: str = "",
    since: datetime | None = None,
    limit: int = 100,
    with_schedules: bool = True,
) -> list[FoundJob]:
    """Lists the jobs that match everything given, the latest first.

    Parameters:
      portal: the name of the portal that asked.
      since: the earliest moment they were recorded at.
      with_schedules: False leaves out the jobs of schedules that succeeded: there are thousands a day.
    """
    read_by_index(session)
    wanted = {"state": state or "", "kind": kind, "portal": portal, "since": since or "-infinity", "limit": limit}
    return fetch(session, FoundJob, SEARCH_JOBS, wanted | {"with_schedules": with_schedules})
