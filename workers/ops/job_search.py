"""Searches the ledger: which jobs there are, in which state, and why."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import and_, func, literal_column, not_, select
from sqlmodel import col

from models.job import Job
from models.portal import Portal
from models.schedule import Schedule
from models.words import JobState
from workers.database import Session
from workers.sql import fetch, select_record


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


JOBS = select_record(
    FoundJob,
    Job,
    portal=col(Portal.name),
    why=func.coalesce(Job.result["code"].as_string(), Job.error["code"].as_string(), Job.error["class"].as_string()),
).join_from(Job, Portal, col(Portal.id) == col(Job.portal_id))

CONDITIONS: Final = {
    JobState.QUEUED: and_(
        col(Job.due_at).is_not(None), col(Job.leased_until).is_(None), col(Job.claim) >= literal_column("0")
    ),
    JobState.RUNNING: col(Job.leased_until).is_not(None),
}
"""Conditions that hold for all jobs in these states (``models.base.OwedWork``), and by which an index finds them."""


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
    found = JOBS
    if state in CONDITIONS:
        found = found.where(CONDITIONS[state])
    for column, value in ((col(Job.state), state), (col(Job.kind), kind), (col(Portal.name), portal)):
        if value:
            found = found.where(column == value)
    if not with_schedules:
        scheduled = col(Job.kind).in_(select(col(Schedule.kind)))
        found = found.where(not_(and_(scheduled, col(Job.state) == JobState.SUCCEEDED)))
    if since:
        found = found.where(col(Job.created_at) >= since)
    latest = found.order_by(col(Job.created_at).desc(), col(Job.id).desc()).limit(limit)
    return fetch(session, FoundJob, latest)
