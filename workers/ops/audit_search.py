"""Searches the audit trail by person, company or job.

What was recorded last is wanted, and identifiers grow with time: so each search reads a table from its end, and only as
far as it must. Of enrollments, which are as many as people, it looks at the newest first, whatever is asked; a company
with too few among them has them read by its contracts.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, literal, null, text, true
from sqlalchemy.orm import Mapped
from sqlmodel import col, select

from models.account import Account
from models.audit import Audit
from models.contract import Company, Contract
from models.enrollment import Enrollment
from models.job import Job
from models.portal import Portal
from workers.database import Session
from workers.ops.capped import read_by_index
from workers.requests.enrollment import Enroll
from workers.sql import fetch, fetch_values, select_record

NEWEST: Final = 20_000
"""The enrollments that are looked at first, or as many as are to be listed, if that is more."""

Asked = Mapping[str, UUID | None]
"""The account, the company and the job that are asked for, by these names; None allows every one."""


# Finds the latest enrollments of a company by its contracts: an index holds the live ones, another the withdrawn ones.
FIND_OF_COMPANY = text("""
    SELECT o.id FROM contract c CROSS JOIN LATERAL (
      SELECT e.id, e.enrolled_at FROM enrollment e WHERE e.contract_id = c.id AND e.withdrawn_at IS NULL
      UNION ALL
      SELECT e.id, e.enrolled_at FROM enrollment e WHERE e.contract_id = c.id AND e.withdrawn_at IS NOT NULL) o
    WHERE c.company_id = :company ORDER BY o.enrolled_at DESC, o.id DESC LIMIT :limit""")


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
    read_by_index(session)
    asked = {"account": account, "company": company, "job": job}
    entries = [*fetch(session, AuditEntry, _changes(limit, asked)), *_find_enrollments(session, limit, asked)]
    return sorted(entries, key=lambda entry: (-entry.at.timestamp(), str(entry.subject_id)))[:limit]


def _changes(limit: int, asked: Asked) -> Select[Any]:
    """Selects the latest changes. Of a company there may be very many: an index holds them in the order of time."""
    found = {"account": Audit.account_id, "company": Audit.company_id, "job": Audit.job_id}
    entries = select_record(AuditEntry, Audit, portal=_portal(col(Audit.portal_id)))
    latest = col(Audit.at).desc() if asked["account"] or asked["job"] else col(Audit.id).desc()
    return entries.where(*_equal(found, asked)).order_by(latest).limit(limit)


def _find_enrollments(session: Session, limit: int, asked: Asked) -> list[AuditEntry]:
    """Finds the latest enrollments among the newest or, where those are too few, wherever they are."""
    if asked["account"] or asked["job"]:
        return fetch(session, AuditEntry, _enrollments(asked).order_by(col(Enrollment.enrolled_at).desc()).limit(limit))
    older = session.exec(
        select(Enrollment.id).order_by(col(Enrollment.id).desc()).offset(max(NEWEST, limit)).limit(1)
    ).one_or_none()
    newer = true() if older is None else col(Enrollment.id) > older
    found = fetch(
        session, AuditEntry, _enrollments(asked).where(newer).order_by(col(Enrollment.id).desc()).limit(limit)
    )
    if len(found) == limit or older is None:
        return found
    ids = fetch_values(session, UUID, FIND_OF_COMPANY, {"company": asked["company"], "limit": limit})
    return fetch(session, AuditEntry, _enrollments(asked).where(col(Enrollment.id).in_(ids)))


def _enrollments(asked: Asked) -> Select[Any]:
    """Selects enrollments as audit entries; they have no row in the audit trail, which a roster of 100,000 would fill.

    The job of the enrollment tells who asked for it.
    """
    found = {"account": Enrollment.account_id, "company": Contract.company_id, "job": Enrollment.job_id}
    entries = select_record(
        AuditEntry,
        Enrollment,
        Contract,
        at=col(Enrollment.enrolled_at),
        portal=_portal(col(Contract.portal_id)),
        requested_by=select(Job.requested_by).where(col(Job.id) == Enrollment.job_id).scalar_subquery(),
        action=literal(Enroll.kind),
        result=literal("done"),
        subject_id=col(Enrollment.id),
        detail=null(),
    )
    entries = entries.join_from(Enrollment, Contract, col(Contract.id) == Enrollment.contract_id)
    return entries.where(*_equal(found, asked))


def _portal(portal_id: Mapped[UUID] | Mapped[UUID | None]) -> ColumnElement[str]:
    """Returns the name of a portal as a value. A join might be done before the entries are cut to those listed."""
    return select(Portal.name).where(col(Portal.id) == portal_id).scalar_subquery()


def _equal(found: Mapping[str, UUID | None], asked: Asked) -> list[ColumnElement[bool]]:
    """Builds the conditions for the values that were given; a None allows every value."""
    return [col(found[name]) == value for name, value in asked.items() if value is not None]


def find_account(session: Session, email: str) -> UUID | None:
    """Finds the account of a normalised address."""
    return session.exec(select(Account.id).where(Account.email_norm == email)).one_or_none()


def find_company(session: Session, portal: str, reference: str) -> UUID | None:
    """Finds the company that a portal knows by this reference."""
    known = select(Company.id).join(Portal, col(Portal.id) == Company.portal_id)
    return session.exec(known.where(Company.reference == reference, Portal.name == portal)).one_or_none()
