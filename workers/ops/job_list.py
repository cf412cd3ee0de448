"""Lists jobs page by page, the latest first: the next page begins behind the last job of this one.

Portal, kind and state are read by an index (``workers/ops/job_search.py``), and so is an error. Everything else is
looked for among the next ``LOOKED_AT`` jobs; the page then says how far it looked, and the next one goes on from there.
"""

from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.database import Session
from workers.ops.capped import read_by_index
from workers.ops.job_search import LAST, SHOWN_COLUMNS, FoundJob, search_jobs
from workers.ops.row_filter import RowFilter, narrowed, parameters
from workers.ops.stuck import STUCK
from workers.sql import fetch, fetch_one

PAGE: Final = 50
"""Jobs of one page."""

LOOKED_AT: Final = 20_000
"""The jobs that a page looks at when no index holds what is asked for."""

LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)

_SHOWN: Final = f"""
    SELECT {SHOWN_COLUMNS} FROM l CROSS JOIN LATERAL (SELECT * FROM job j WHERE j.id = l.id LIMIT 1) j"""

_PORTAL: Final = "(SELECT p.name FROM portal p WHERE p.id = t.portal_id) AS portal"

# Walks over the jobs from one on, the later ones first, and no further than to a number of them.
WALK: Final = text(f"""
    WITH l AS (
      SELECT t.id, {_PORTAL} FROM (
        SELECT * FROM job w WHERE w.id < :before ORDER BY w.id DESC LIMIT CAST(:looked_at AS bigint)) t
      WHERE {narrowed("job", "created_at")}
        AND (CAST(:requested_by AS text) = '' OR t.requested_by = :requested_by)
      ORDER BY t.id DESC LIMIT CAST(:limit AS bigint))
    {_SHOWN} ORDER BY j.id DESC""")

# Finds the last of the jobs that such a walk looks at, if others are behind it.
FIND_END: Final = text("""
    SELECT w.id, w.created_at FROM job w WHERE w.id < :before ORDER BY w.id DESC
    OFFSET CAST(:looked_at AS bigint) - 1 LIMIT 1""")

# Lists the jobs that gave up with one error, in the order of the index that holds them.
LIST_OF_TROUBLE: Final = text(f"""
    WITH l AS (
      SELECT t.id, {_PORTAL} FROM job t
      WHERE {STUCK["job"]} AND t.trouble IS NOT NULL AND t.trouble = :trouble
        AND (CAST(:queue AS text) = '' OR t.queue = :queue) AND (CAST(:kind AS text) = '' OR t.kind = :kind)
        AND (t.queue, t.kind, t.finished_at, t.id) > (:after_queue, :after_kind, :after_at, :after)
      ORDER BY t.queue, t.kind, t.finished_at, t.id LIMIT CAST(:limit AS bigint))
    {_SHOWN} ORDER BY j.queue, j.kind, j.finished_at, j.id""")

# Lists the jobs with identifiers between two.
LIST_BETWEEN: Final = text(f"""
    WITH l AS (
      SELECT t.id, {_PORTAL} FROM job t WHERE t.id BETWEEN :first AND :last ORDER BY t.id DESC
      LIMIT CAST(:limit AS bigint))
    {_SHOWN} ORDER BY j.id DESC""")

# Lists the jobs that portals asked for under this key.
LIST_OF_KEY: Final = text(f"""
    WITH l AS (
      SELECT i.job_id AS id, p.name AS portal FROM portal p CROSS JOIN LATERAL (
        SELECT k.job_id FROM idempotency k WHERE k.portal_id = p.id AND k.key = :key LIMIT 1) i)
    {_SHOWN} ORDER BY j.id DESC""")

# Reads the place of a job in the lists.
READ_PLACE: Final = text("SELECT t.queue, t.kind, t.finished_at, t.created_at FROM job t WHERE t.id = :id")

# Tells what an identifier names.
FIND_NAMED: Final = text("""
    SELECT n.what FROM (
      SELECT 'job' AS what FROM job WHERE id = :id
      UNION ALL SELECT 'email' FROM email WHERE id = :id
      UNION ALL SELECT 'action' FROM ops_action WHERE id = :id
      UNION ALL SELECT 'account' FROM account WHERE id = :id
      UNION ALL SELECT 'enrollment' FROM enrollment WHERE id = :id) n LIMIT 1""")

# Tells which of these things has this name: a contract or a portal.
FIND_REFERENCE: Final = text("""
    SELECT n.what FROM (
      SELECT 'portal' AS what FROM portal WHERE name = :name
      UNION ALL
      SELECT 'contract' FROM portal p CROSS JOIN LATERAL (
        SELECT 1 FROM contract c WHERE c.portal_id = p.id AND c.reference = :name LIMIT 1) c) n LIMIT 1""")


class JobsPage(NamedTuple):
    """One page of jobs.

    Parameters:
      after: the job behind which the next page begins; None after the last page.
      looked_to: the moment of the oldest job that was looked at, when not all were; else None.
    """

    jobs: list[FoundJob]
    after: UUID | None = None
    looked_to: datetime | None = None


class _Place(NamedTuple):
    queue: str
    kind: str
    finished_at: datetime | None
    created_at: datetime


class _End(NamedTuple):
    id: UUID
    created_at: datetime


class _What(NamedTuple):
    what: str


def list_jobs(
    session: Session,
    wanted: RowFilter,
    *,
    requested_by: str = "",
    after: UUID | None = None,
    with_schedules: bool = True,
) -> JobsPage:
    """Lists the jobs that match everything given.

    Parameters:
      requested_by: only jobs that this requester asked for.
      after: the last job of the page before, or the last that it looked at.
      with_schedules: False leaves out the jobs of schedules that succeeded, where the index can.
    """
    read_by_index(session)
    place = None if after is None else fetch_one(session, _Place, READ_PLACE, {"id": after})
    if wanted.trouble and not (wanted.portal or wanted.contract or requested_by):
        page = _list_of_trouble(session, wanted, place, after)
        if page.jobs or place is not None:
            return page
    if wanted.queue or wanted.contract or wanted.trouble or requested_by:
        return _walk(session, wanted, requested_by, after or LAST)
    before = None if place is None or after is None else (place.created_at, after)
    jobs = search_jobs(session, wanted, limit=PAGE + 1, with_schedules=with_schedules, before=before)
    return _paged(jobs)


def _paged(jobs: list[FoundJob]) -> JobsPage:
    more = len(jobs) > PAGE
    return JobsPage(jobs[:PAGE], jobs[PAGE - 1].id if more else None)


def _list_of_trouble(session: Session, wanted: RowFilter, place: _Place | None, after: UUID | None) -> JobsPage:
    first = _Place("", "", LONG_AGO, LONG_AGO) if place is None else place
    given = {"after_queue": first.queue, "after_kind": first.kind, "after_at": first.finished_at or LONG_AGO}
    given |= {"after": after or UUID(int=0), "trouble": wanted.trouble, "queue": wanted.queue, "kind": wanted.kind}
    return _paged(fetch(session, FoundJob, LIST_OF_TROUBLE, given | {"limit": PAGE + 1}))


def _walk(session: Session, wanted: RowFilter, requested_by: str, before: UUID) -> JobsPage:
    given = {"before": before, "looked_at": LOOKED_AT}
    asked = parameters(session, wanted) | given | {"requested_by": requested_by, "limit": PAGE + 1}
    page = _paged(fetch(session, FoundJob, WALK, asked))
    if page.after is not None:
        return page
    end = fetch_one(session, _End, FIND_END, given)
    return page if end is None else page._replace(after=end.id, looked_to=end.created_at)


def list_jobs_between(session: Session, first: UUID, last: UUID) -> JobsPage:
    """Lists the jobs with identifiers between two, both included; no more than one page."""
    asked = {"first": first, "last": last, "limit": PAGE}
    return JobsPage(fetch(session, FoundJob, LIST_BETWEEN, asked))


def list_jobs_of_key(session: Session, key: str) -> JobsPage:
    """Lists the jobs that portals asked for under this idempotency key."""
    return JobsPage(fetch(session, FoundJob, LIST_OF_KEY, {"key": key}))


def find_named(session: Session, row_id: UUID) -> str | None:
    """Tells what an identifier names: `job`, `email`, `action`, `account` or `enrollment`; None for nothing known."""
    found = fetch_one(session, _What, FIND_NAMED, {"id": row_id})
    return None if found is None else found.what


def find_reference(session: Session, name: str) -> str | None:
    """Tells whether a name is that of a `portal` or the reference of a `contract`; None when it is neither."""
    found = fetch_one(session, _What, FIND_REFERENCE, {"name": name})
    return None if found is None else found.what


__all__ = [
    "LOOKED_AT",
    "PAGE",
    "JobsPage",
    "find_named",
    "find_reference",
    "list_jobs",
    "list_jobs_between",
    "list_jobs_of_key",
]
