"""Maps each kind of job to the function that does it, and shows jobs as JSON."""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col

from models.job import Job, JobAttempt, JobPerson
from models.roster import measure_import
from models.words import JobState
from workers.access.resend_jobs import resend_invitations, reset_passwords
from workers.access.reset_requests import request_resets, send_resets
from workers.catalog.organisations import put_organisation
from workers.catalog.records import put_company, put_contract, put_portal, put_training
from workers.certificates.changes import correct_certificate, revoke_certificate
from workers.certificates.duplicates.files import show_file
from workers.certificates.issuing import catch_up, issue_certificates
from workers.corrections.jobs import correct_email, correct_email_by_ops
from workers.corrections.names import correct_name, correct_name_by_ops
from workers.corrections.verdicts import apply_corrections
from workers.database import Session
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.enrollment.jobs import enroll_jobs
from workers.enrollment.progress import record_progress_jobs
from workers.enrollment.releases import plan_releases, release_seats
from workers.enrollment.reminders import send_reminders
from workers.enrollment.withdrawal import withdraw_jobs
from workers.imports.inboxes import put_inbox
from workers.imports.undoing import cancel_imports
from workers.ops.reconciliation import reconcile
from workers.people.erasure import erase_person
from workers.people.export import export_person
from workers.people.retention import purge_job
from workers.requests.certificates import DUPLICATE_KINDS
from workers.requests.imports import ImportRoster, UndoImport
from workers.requests.registry import parse
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


def do_jobs(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed jobs in ledger order; consecutive jobs of one kind are done by one call."""
    outcomes: list[WorkOutcome] = []
    for kind, run in groupby(rows, key=lambda row: row.columns.kind):
        outcomes += SERVICES[kind](session, list(run))
    return outcomes


def _one_by_one(service: Callable[..., Any]) -> Callable[[Session, Sequence[ClaimedRow]], list[WorkOutcome]]:
    def do(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
        outcomes = []
        for row in rows:
            request = parse(row.columns.kind, row.columns.request, internal=True)
            state, result = service(session, row.columns.portal_id, row.id, request)
            outcomes.append(WorkOutcome(row.id, row.claim, state, result))
        return outcomes

    return do


def _reconcile(session: Session, *_: Any) -> tuple[JobState, dict[str, Any]]:
    return JobState.SUCCEEDED, reconcile(session)


SERVICES: Final[dict[str, Callable[[Session, Sequence[ClaimedRow]], list[WorkOutcome]]]] = {
    "enroll": enroll_jobs,
    "withdraw": withdraw_jobs,
    "record_progress": record_progress_jobs,
    "put_company": _one_by_one(put_company),
    "put_training": _one_by_one(put_training),
    "put_portal": _one_by_one(put_portal),
    "put_contract": _one_by_one(put_contract),
    "reset_passwords": reset_passwords,
    "resend_invitations": resend_invitations,
    "request_password_reset": request_resets,
    "send_password_reset": send_resets,
    "cancel_import": cancel_imports,
    "put_inbox": _one_by_one(put_inbox),
    "release_seats": release_seats,
    "send_reminders": _one_by_one(send_reminders),
    "plan_releases": _one_by_one(plan_releases),
    "export_person": _one_by_one(export_person),
    "erase_person": _one_by_one(erase_person),
    "reconcile_seats": _one_by_one(_reconcile),
    "purge": _one_by_one(purge_job),
    "correct_email": correct_email,
    "correct_email_by_ops": correct_email_by_ops,
    "correct_name": correct_name,
    "correct_name_by_ops": correct_name_by_ops,
    "apply_corrections": apply_corrections,
    "issue_certificate": issue_certificates,
    "catch_up_certificates": _one_by_one(catch_up),
    "correct_certificate": _one_by_one(correct_certificate),
    "revoke_certificate": _one_by_one(revoke_certificate),
    "put_organisation": _one_by_one(put_organisation),
}
"""The function that does each kind of job in one transaction.

Imports, their undoing, scans of inboxes, duplicates and the deletion of documents need more than the database: the
actors of their queues do them.
"""


def show_job(session: Session, job_id: UUID) -> dict[str, Any] | None:
    """Returns a job as JSON: its state, its result with one entry per person in input order, and failed attempts."""
    job = fetch_one(session, ShownJob, select_record(ShownJob, Job).where(col(Job.id) == job_id))
    if job is None:
        return None
    shown = as_json(job)
    result = dict(job.result or {})
    if "people" not in result:
        people = select_record(ShownPerson, JobPerson).where(col(JobPerson.job_id) == job_id)
        people = people.order_by(col(JobPerson.position))
        result["people"] = [as_json(person) for person in fetch(session, ShownPerson, people)]
    if job.kind in FILES:
        shown |= _show_progress(session, job_id)
    if job.kind in DUPLICATE_KINDS and "file" in result:
        result["file"] = result["file"] | show_file(session, job_id)
    attempts = select_record(ShownAttempt, JobAttempt).where(col(JobAttempt.row_id) == job_id)
    tried = fetch(session, ShownAttempt, attempts.order_by(col(JobAttempt.id)))
    return shown | {
        "result": result,
        "finished": job.state in FINAL,
        "attempts": [as_json(attempt) for attempt in tried],
    }


def _show_progress(session: Session, job_id: UUID) -> dict[str, Any]:
    [found] = fetch(session, FileProgress, READ_PROGRESS, {"id": job_id})
    progress = measure_import(found.rows, found.position, found.seconds, finished=found.finished)
    return {"progress": progress._asdict(), "file": {"name": found.file_name, "reading": found.reading}}
