"""Looking into the audit trail: what was done to a person, for a company, by a job, when and by whom."""

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
    """One change.

    Parameters:
      portal: whose request it was; None for what Matricule or ops did by themselves.
      requested_by: who asked, in the portal's words, or the system user of ops.
      account_id, company_id, subject_id, job_id: on whom, for whom, on which row and by which job, where there is one.
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
    """The latest changes that match everything given, the latest first; all of them when nothing is given."""
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
    """An enrollment is its own record: its job says who asked, so that a roster of 100,000 people writes no copy."""
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
    """The conditions of what was asked for; what was not, may be anything."""
    return [col(found[name]) == value for name, value in asked.items() if value is not None]


def find_account(session: Session, email: str) -> UUID | None:
    """The account of a normalised address."""
    return session.exec(select(Account.id).where(Account.email_norm == email)).one_or_none()


def find_company(session: Session, portal: str, reference: str) -> UUID | None:
    """The company a portal knows by this reference."""
    known = select(Company.id).join(Portal, col(Portal.id) == Company.portal_id)
    return session.exec(known.where(Company.reference == reference, Portal.name == portal)).one_or_none()
