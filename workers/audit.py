"""The audit trail: one row per change, in the transaction of the change."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from models.audit import Audit
from workers.database import Session
from workers.sql import insert_all


class AuditChange(NamedTuple):
    """One change and the requester. Enrollments have no entry here: their rows and their jobs are the record."""

    action: str
    portal_id: UUID | None = None
    requested_by: str = ""
    result: str = "done"
    company_id: UUID | None = None
    account_id: UUID | None = None
    subject_id: UUID | None = None
    job_id: UUID | None = None
    detail: dict[str, Any] | None = None


def record(
    session: Session,
    action: str,
    *,
    portal_id: UUID | None = None,
    requested_by: str = "",
    result: str = "done",
    company_id: UUID | None = None,
    account_id: UUID | None = None,
    subject_id: UUID | None = None,
    job_id: UUID | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Records one change in the audit trail."""
    change = AuditChange(action, portal_id, requested_by, result, company_id, account_id, subject_id, job_id, detail)
    record_all(session, [change])


def record_all(session: Session, changes: Sequence[AuditChange]) -> None:
    """Records the changes of a batch in the audit trail, with one statement."""
    insert_all(session, Audit, changes)
