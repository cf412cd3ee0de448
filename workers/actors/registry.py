"""Maps each kind of job to the function that does it."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final

from models.words import JobState
from workers.access.resend_jobs import resend_invitations, reset_passwords
from workers.access.reset_requests import request_resets, send_resets
from workers.catalog.organisations import put_organisation
from workers.catalog.records import put_company, put_contract, put_portal, put_training
from workers.certificates.changes import correct_certificate, revoke_certificate
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
from workers.enrollment.searching import find_words
from workers.enrollment.withdrawal import withdraw_jobs
from workers.imports.inboxes import put_inbox
from workers.imports.undoing import cancel_imports
from workers.ops.reconciliation import reconcile
from workers.people.erasure import erase_person
from workers.people.export import export_person
from workers.people.retention import purge_job
from workers.requests.registry import parse


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
    "find_words": _one_by_one(find_words),
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
