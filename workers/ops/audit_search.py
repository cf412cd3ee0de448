"""Searches the audit trail by person, company or job."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, literal, null, union_all
from sqlmodel import col, select

from models.account import Account
from models.audit import Audit
from models.contract import Company, Contract
from models.enrollment import Enrollment
from models.job import Job
from models.portal import Portal
from workers.database import Session
from workers.requests.enrollment import Enroll
from workers.sql import fetch, select_record


class AuditEntry(NamedTuple):
    """One recorded change.

    Parameters:
      portal: the portal that sent the request; None when Matricule or ops made the change by themselves.
      requested_by: the requester in the portal's words, or the system user of ops.
      account_id, company_id, subject_id, job_id: the person, the company, the changed row and the job, if there is one.
    """

    at: datetime
    portal: str | None
    requested_by: str | None
    action: str
    result: str
    company_id: UUID | None
    account_id: UUID | None
    subject_id: UUID | None
    job_id: UUID | None
    detail: dict[str, Any] | None


def search_audit(
    session: Session,
    *,
    account: UUID | None = None,
    company: UUID | None = None,
    job: UUID | None = None,
    limit: int = 100,
) -> list[AuditEntry]:
    """Lists the changes that match every given condition, the latest first, at most `limit`."""
    changed = _changes(account=account, company=company, job=job)
    enrolled = _enrollments(account=account, company=company, job=job)
    entries = union_all(changed, enrolled)
    latest = entries.order_by(entries.selected_columns.at.desc(), entries.selected_columns.subject_id).limit(limit)
    return fetch(session, AuditEntry, latest)


def _changes(**asked: UUID | None) -> Select[Any]:
    found = {"account": Audit.account_id, "company": Audit.company_id, "job": Audit.job_id}
    entries = select_record(AuditEntry, Audit, portal=col(Portal.name))
    entries = entries.join_from(Audit, Portal, col(Portal.id) == Audit.portal_id, isouter=True)
    return entries.where(*_equal(found, asked))


def _enrollments(**asked: UUID | None) -> Select[Any]:
    """Selects enrollments as audit entries; they have no row in the audit trail, which a roster of 100,000 would fill.

    The job of the enrollment tells who asked for it.
    """
    found = {"account": Enrollment.account_id, "company": Contract.company_id, "job": Enrollment.job_id}
    entries = select_record(
        AuditEntry,
        Enrollment,
        Contract,
        at=col(Enrollment.enrolled_at),
        portal=col(Portal.name),
        requested_by=col(Job.requested_by),
        action=literal(Enroll.kind),
        result=literal("done"),
        subject_id=col(Enrollment.id),
        detail=null(),
    )
    entries = entries.join_from(Enrollment, Contract, col(Contract.id) == Enrollment.contract_id)
    entries = entries.outerjoin(Job, col(Job.id) == Enrollment.job_id)
    return entries.outerjoin(Portal, col(Portal.id) == Contract.portal_id).where(*_equal(found, asked))


def _equal(found: Mapping[str, UUID | None], asked: Mapping[str, UUID | None]) -> list[ColumnElement[bool]]:
    """Builds the conditions for the values that were given; a None allows every value."""
    return [col(found[name]) == value for name, value in asked.items() if value is not None]


def find_account(session: Session, email: str) -> UUID | None:
    """Finds the account of a normalised address."""
    return session.exec(select(Account.id).where(Account.email_norm == email)).one_or_none()


def find_company(session: Session, portal: str, reference: str) -> UUID | None:
    """Finds the company that a portal knows by this reference."""
    known = select(Company.id).join(Portal, col(Portal.id) == Company.portal_id)
    return session.exec(known.where(Company.reference == reference, Portal.name == portal)).one_or_none()
