"""Shows a job as JSON: its state, what came of it for each person, and the attempts that failed.

A portal sees its own jobs; its key for some companies sees those that name these alone (``workers/portals/rights.py``).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col

from models.job import Job, JobAttempt, JobPerson
from models.roster import measure_import
from models.words import JobState, Scope
from workers.certificates.duplicates.files import show_file
from workers.database import Session
from workers.portals.keys import KnownKey
from workers.reading.visible_jobs import find_visible_job
from workers.requests.accounts import ExportPerson
from workers.requests.certificates import DUPLICATE_KINDS
from workers.requests.imports import ImportRoster, UndoImport
from workers.sql import as_json, fetch, fetch_one, select_record

# Reads the progress of an import, or of undoing one, which uses the file of the import.
READ_PROGRESS = text("""
    SELECT ro.file_name, ro.reading, ro.rows, j.position, j.finished_at IS NOT NULL AS finished,
      extract(epoch FROM coalesce(j.finished_at, now()) - j.started_at)::float8 AS seconds
    FROM job j LEFT JOIN roster ro ON ro.job_id = CASE j.kind WHEN 'undo_import' THEN CAST(j.request ->> 'job' AS uuid)
      ELSE j.id END
    WHERE j.id = :id""")


class ShownJob(NamedTuple):
    """The columns of a job that are shown, without its people and attempts."""

    id: UUID
    kind: str
    queue: str
    state: str
    claim: int
    failures: int
    rescues: int
    due_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    requested_by: str
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    position: int


class ShownPerson(NamedTuple):
    """The result of one person in a job of several people."""

    position: int
    code: str
    field: str | None
    detail: dict[str, Any] | None
    account_id: UUID | None
    enrollment_id: UUID | None


class ShownAttempt(NamedTuple):
    """An attempt at a job that did not succeed, or a run of equal postponements, as it is shown.

    Parameters:
      times: how many postponements it stands for; the first was at `created_at`, the last at `last_at`.
    """

    claim: int
    outcome: str
    error: dict[str, Any] | None
    created_at: datetime
    times: int
    last_at: datetime | None


class FileProgress(NamedTuple):
    """The progress of a job in its file; the columns of the file are None before the job has read it."""

    file_name: str | None
    reading: dict[str, Any] | None
    rows: int | None
    position: int
    finished: bool
    seconds: float | None


FILES: Final = frozenset({ImportRoster.kind, UndoImport.kind})

FINAL: Final = frozenset({JobState.SUCCEEDED, JobState.REFUSED, JobState.DEAD, JobState.CANCELLED})


SHOWN_PEOPLE: Final = 200
"""The most people in the answer about one job; the others are asked for page by page."""


def show_job(session: Session, job_id: UUID) -> dict[str, Any] | None:
    """Returns a job as JSON: its state, its result with one entry per person in input order, and failed attempts."""
    job = fetch_one(session, ShownJob, select_record(ShownJob, Job).where(col(Job.id) == job_id))
    if job is None:
        return None
    shown = as_json(job) | _show_result(session, job_id, job.kind, job.result, most=None)
    attempts = select_record(ShownAttempt, JobAttempt).where(col(JobAttempt.row_id) == job_id)
    tried = fetch(session, ShownAttempt, attempts.order_by(col(JobAttempt.id)))
    return shown | {
        "finished": job.state in FINAL,
        "attempts": [as_json(attempt) for attempt in tried],
    }


def _show_result(
    session: Session, job_id: UUID, kind: str, recorded: Mapping[str, Any] | None, most: int | None = SHOWN_PEOPLE
) -> dict[str, Any]:
    """Returns the result of a job with one entry per person in input order, and the progress in its file.

    Parameters:
      most: the most people in it; None for all. When there are more, `people_next` is the cursor of the next one.
        With 0 they are not read at all.
    """
    result = dict(recorded or {})
    if most == 0:
        result["people"] = []
    elif "people" not in result:
        people = select_record(ShownPerson, JobPerson).where(col(JobPerson.job_id) == job_id)
        people = people.order_by(col(JobPerson.position)).limit(None if most is None else most + 1)
        found = fetch(session, ShownPerson, people)
        result["people"] = [as_json(person) for person in found[:most]]
        if most is not None and len(found) > most:
            result["people_next"] = str(found[most].position)
    if kind in DUPLICATE_KINDS and "file" in result:
        result["file"] = result["file"] | show_file(session, job_id)
    return {"result": result} | (_show_progress(session, job_id) if kind in FILES else {})


class PortalJob(NamedTuple):
    """The columns of a job that its portal sees."""

    id: UUID
    kind: str
    state: str
    requested_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: dict[str, Any] | None
    error: dict[str, Any] | None


def show_portal_job(session: Session, key: KnownKey, job_id: UUID) -> dict[str, Any] | None:
    """Returns a job as its portal sees it, or None when this key may not see such a job.

    It is what ``show_job`` returns, without attempts, queue and what an error says of our processes, and with at most
    200 people.
    """
    found = find_visible_job(session, key, job_id)
    job = None if found is None else show_recorded_job(session, key.portal_id, job_id)
    if job is not None and job["kind"] == ExportPerson.kind and not key.may(Scope.ACCOUNTS):
        job["result"].pop("person", None)  # to read participants is not to read all that is known of a person
    return job


def show_recorded_job(
    session: Session, portal_id: UUID, job_id: UUID, *, most: int = SHOWN_PEOPLE
) -> dict[str, Any] | None:
    """Returns a job as its portal sees it, which has just asked for it or may see it.

    Parameters:
      most: the most people in its result.
    """
    asked = select_record(PortalJob, Job).where(col(Job.id) == job_id, col(Job.portal_id) == portal_id)
    job = fetch_one(session, PortalJob, asked)
    if job is None:
        return None
    shown = as_json(job) | {"error": _error_for_portals(job.error), "finished": job.state in FINAL}
    return shown | _show_result(session, job_id, job.kind, job.result, most)


def _error_for_portals(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns the part of an error that says what was wrong with the request, and nothing of our processes."""
    if error is None:
        return None
    return {name: error[name] for name in ("code", "problems", "problem_count") if name in error}


def _show_progress(session: Session, job_id: UUID) -> dict[str, Any]:
    [found] = fetch(session, FileProgress, READ_PROGRESS, {"id": job_id})
    progress = measure_import(found.rows, found.position, found.seconds, finished=found.finished)
    return {"progress": progress._asdict(), "file": {"name": found.file_name, "reading": found.reading}}
