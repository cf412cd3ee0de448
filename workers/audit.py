"""The audit trail: one row per change, in the transaction of the change."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from workers.database import Session

INSERT_AUDIT = text("""
    INSERT INTO audit (portal_id, requested_by, action, result, company_id, account_id, subject_id, job_id, detail)
    VALUES (:portal_id, :requested_by, :action, :result, :company_id, :account_id, :subject_id, :job_id,
      CAST(:detail AS json))""")


@dataclass(frozen=True, slots=True)
class AuditChange:
    """One change and who asked for it. Enrollments are not repeated here: their job and its people tell them."""

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
    """Writes one change."""
    change = AuditChange(action, portal_id, requested_by, result, company_id, account_id, subject_id, job_id, detail)
    record_all(session, [change])


def record_all(session: Session, changes: Sequence[AuditChange]) -> None:
    """Writes the changes of a batch, in one go."""
    if changes:
        session.execute(INSERT_AUDIT, [_row(change) for change in changes])


def _row(change: AuditChange) -> dict[str, Any]:
    return asdict(change) | {"detail": None if change.detail is None else json.dumps(change.detail)}
