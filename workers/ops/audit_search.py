"""Looking into the audit trail: what was done to a person, for a company, by a job, when and by whom."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.database import Session

# An enrollment is its own record: its job says who asked, so that a roster of 100,000 people writes no second copy.
ENTRIES: Final = """
    SELECT a.at, p.name AS portal, a.requested_by, a.action, a.result, a.company_id, a.account_id, a.subject_id,
      a.job_id, a.detail
    FROM audit a LEFT JOIN portal p ON p.id = a.portal_id
    WHERE {audit}
    UNION ALL
    SELECT e.enrolled_at, p.name, j.requested_by, 'enroll', 'done', c.company_id, e.account_id, e.id, e.job_id, NULL
    FROM enrollment e JOIN contract c ON c.id = e.contract_id
    LEFT JOIN job j ON j.id = e.job_id LEFT JOIN portal p ON p.id = c.portal_id
    WHERE {enrollment}
    ORDER BY at DESC, subject_id LIMIT :limit"""

AUDIT: Final = {"account": "a.account_id = :account", "company": "a.company_id = :company", "job": "a.job_id = :job"}
ENROLLMENT: Final = {
    "account": "e.account_id = :account",
    "company": "c.company_id = :company",
    "job": "e.job_id = :job",
}

FIND_ACCOUNT = text("SELECT id FROM account WHERE email_norm = :email")
FIND_COMPANIES = text("""
    SELECT c.id FROM company c JOIN portal p ON p.id = c.portal_id
    WHERE c.reference = :reference AND p.name = :portal""")


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
    detail: Any


def search_audit(
    session: Session,
    *,
    account: UUID | None = None,
    company: UUID | None = None,
    job: UUID | None = None,
    limit: int = 100,
) -> list[AuditEntry]:
    """The latest changes that match everything given, the latest first; all of them when nothing is given."""
    given = {"account": account, "company": company, "job": job}
    asked = {name: value for name, value in given.items() if value is not None}
    statement = ENTRIES.format(
        audit=" AND ".join(AUDIT[name] for name in asked) or "true",
        enrollment=" AND ".join(ENROLLMENT[name] for name in asked) or "true",
    )
    return [AuditEntry(*row) for row in session.execute(text(statement), asked | {"limit": limit})]


def find_account(session: Session, email: str) -> UUID | None:
    """The account of a normalised address."""
    found: UUID | None = session.execute(FIND_ACCOUNT, {"email": email}).scalar()
    return found


def find_company(session: Session, portal: str, reference: str) -> UUID | None:
    """The company a portal knows by this reference."""
    found: UUID | None = session.execute(FIND_COMPANIES, {"portal": portal, "reference": reference}).scalar()
    return found
