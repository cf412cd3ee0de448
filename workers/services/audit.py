"""The audit trail: one row per change, in the transaction of the change."""

import json
from typing import Any
from uuid import UUID

from sqlalchemy import text

from workers.database import Session

RECORD = text("""
    INSERT INTO audit (portal_id, requested_by, action, result, company_id, account_id, subject_id, job_id, detail)
    VALUES (:portal_id, :requested_by, :action, :result, :company_id, :account_id, :subject_id, :job_id,
      CAST(:detail AS json))""")


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
    """Writes who changed what. Enrollments are not repeated here: their job and its people say it already."""
    session.execute(
        RECORD,
        {
            "action": action,
            "portal_id": portal_id,
            "requested_by": requested_by,
            "result": result,
            "company_id": company_id,
            "account_id": account_id,
            "subject_id": subject_id,
            "job_id": job_id,
            "detail": None if detail is None else json.dumps(detail),
        },
    )
