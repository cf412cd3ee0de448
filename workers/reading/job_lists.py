"""Lists the jobs of a portal, and the people of a job, page by page.

A page with a filter looks at a bounded number of rows, so it may be shorter than was asked for although another one
follows.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.words import Code, JobState
from workers.database import Session, text_array
from workers.portals.keys import KnownKey
from workers.reading.jobs import FINAL, ShownPerson
from workers.reading.visible_jobs import INTERNAL, find_visible_job, may_see, readable_kinds
from workers.sql import as_json, fetch, fetch_value

LOOKED_AT: Final = 2_000
"""The most rows that one page looks at."""

LATEST: Final = UUID(int=2**128 - 1)
"""The identifier before which the first page of jobs begins: identifiers grow with time."""

READ_BYTES: Final = 256 * 1024
"""Stored bytes of requests that one page reads, where they decide who may see a job; they may be large rosters."""

# The next jobs of a portal, the latest first, among so many that are looked at. Requests are read up to a bound.
LIST_JOBS = text("""
    SELECT f.id, f.kind, f.state, f.requested_by, f.created_at, f.started_at, f.finished_at, f.within,
      CASE WHEN f.within AND :whole THEN CAST(f.request AS text) END AS request
    FROM (
      SELECT j.*, NOT :whole OR coalesce(sum(pg_column_size(j.request)) OVER (
          ORDER BY j.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < :bytes AS within
      FROM (
        SELECT * FROM job jo WHERE jo.portal_id = :portal AND jo.id < :before ORDER BY jo.id DESC LIMIT :looked_at) j
      WHERE NOT j.kind = ANY(CAST(:internal AS text[]))
        AND (CAST(:kinds AS text[]) IS NULL OR j.kind = ANY(CAST(:kinds AS text[])))
        AND (CAST(:kind AS text) IS NULL OR j.kind = :kind) AND (CAST(:state AS text) IS NULL OR j.state = :state)
      ORDER BY j.id DESC LIMIT :size) f
    ORDER BY f.id DESC""")

# The last job that such a page looks at; none when it looks at all that are left.
FIND_LAST_JOB = text("""
    SELECT jo.id FROM job jo WHERE jo.portal_id = :portal AND jo.id < :before
    ORDER BY jo.id DESC OFFSET :looked_at - 1 LIMIT 1""")

# The next results of people of a job, among so many that are looked at.
LIST_PEOPLE = text("""
    SELECT p.position, p.code, p.field, p.detail, p.account_id, p.enrollment_id
    FROM (
      SELECT * FROM job_person pe WHERE pe.job_id = :job AND pe.position >= :first
      ORDER BY pe.position LIMIT :looked_at) p
    WHERE CAST(:code AS text) IS NULL OR p.code = :code ORDER BY p.position LIMIT :size""")

# The first result behind those that such a page looks at.
FIND_NEXT_PERSON = text("""
    SELECT pe.position FROM job_person pe WHERE pe.job_id = :job AND pe.position >= :first
    ORDER BY pe.position OFFSET :looked_at LIMIT 1""")

# The result of a job itself: a job of one person has no rows of people, and the person in its result.
READ_RESULT = text("SELECT CAST(j.result AS text) FROM job j WHERE j.id = :job")


class ListedJob(NamedTuple):
    """A job in a list, without its result.

    Parameters:
      within: its request is among those that the page reads.
      request: its JSON, where it decides who may see the job.
    """

    id: UUID
    kind: str
    state: str
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    within: bool
    request: str | None


class JobFilter(NamedTuple):
    """The jobs that are asked for; None asks for all."""

    kind: str | None = None
    state: JobState | None = None


class JobPage(NamedTuple):
    """Jobs, the latest first, and the identifier before which the next page begins; None after the last."""

    items: Sequence[dict[str, Any]]
    next: UUID | None


class PeoplePage(NamedTuple):
    """Results of people in the order of the request, and the position of the next page; None after the last."""

    items: Sequence[dict[str, Any]]
    next: int | None


def list_jobs(session: Session, key: KnownKey, wanted: JobFilter, before: UUID, size: int) -> JobPage:
    """Lists jobs that this key may see, those recorded before one."""
    given = {"portal": key.portal_id, "before": before, "looked_at": LOOKED_AT}
    kinds = readable_kinds(key)
    asked: dict[str, Any] = {
        **given,
        "whole": key.companies is not None,
        "internal": INTERNAL,
        "kinds": None if kinds is None else text_array(sorted(kinds)),
        "kind": wanted.kind,
        "state": wanted.state,
        "size": size + 1,
        "bytes": READ_BYTES,
    }
    found = fetch(session, ListedJob, LIST_JOBS, asked)
    page = [job for job in found[:size] if job.within]
    following = page[-1].id if len(page) < len(found) else fetch_value(session, UUID, FIND_LAST_JOB, given)
    seen = may_see(session, key, [(job.kind, job.request) for job in page])
    return JobPage([_listed(job) for job, visible in zip(page, seen, strict=True) if visible], following)


def _listed(job: ListedJob) -> dict[str, Any]:
    shown = as_json(job) | {"finished": job.state in FINAL}
    return {name: value for name, value in shown.items() if name not in ("within", "request")}


def list_people(
    session: Session, key: KnownKey, job_id: UUID, *, code: Code | None, first: int, size: int
) -> PeoplePage | None:
    """Lists the results of people of a job, from a position on; returns None when this key may not see such a job."""
    if find_visible_job(session, key, job_id) is None:
        return None
    given = {"job": job_id, "first": first, "looked_at": LOOKED_AT}
    found = fetch(session, ShownPerson, LIST_PEOPLE, {**given, "code": code, "size": size + 1})
    if len(found) > size:
        return PeoplePage([as_json(one) for one in found[:size]], found[size].position)
    following = fetch_value(session, int, FIND_NEXT_PERSON, given)
    people = [as_json(one) for one in found] or _own_people(session, job_id, code, first)
    return PeoplePage(people, following)


def _own_people(session: Session, job_id: UUID, code: Code | None, first: int) -> list[dict[str, Any]]:
    """Returns the person of a job of one person, when it is on the page."""
    written = fetch_value(session, str, READ_RESULT, {"job": job_id})
    own: list[dict[str, Any]] = json.loads(written).get("people", []) if written else []
    return [one for one in own if one["position"] >= first and code in (None, one["code"])]
