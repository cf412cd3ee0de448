"""The index that stands in a zip of duplicates: everybody who was asked for, with what became of each."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.certificate import group_code
from models.words import Code
from workers.database import Session

# Names of those who have a certificate are what it says; of the others what the account says, if it is not erased.
READ_INDEX = text("""
    SELECT p.position, d.number,
      CASE WHEN p.code = 'duplicated' AND k.snapshot IS NULL THEN 'names_not_kept' ELSE p.code END AS code,
      k.number AS certificate, k.code AS verification,
      CASE WHEN k.id IS NOT NULL THEN k.snapshot ->> 'first_name' WHEN a.erased_at IS NULL THEN a.first_name END
        AS first_name,
      CASE WHEN k.id IS NOT NULL THEN k.snapshot ->> 'last_name' WHEN a.erased_at IS NULL THEN a.last_name END
        AS last_name
    FROM job_person p LEFT JOIN account a ON a.id = p.account_id
    LEFT JOIN certificate_duplicate d ON d.job_id = p.job_id AND d.position = p.position
    LEFT JOIN certificate k ON k.id = d.certificate_id
    WHERE p.job_id = :job ORDER BY p.position""")


class IndexLine(NamedTuple):
    """One person of the request.

    Parameters:
      code_shown: the verification code, grouped.
    """

    position: int
    code: Code
    first_name: str | None
    last_name: str | None
    certificate: str | None
    number: str | None
    code_shown: str | None


def read_index(session: Session, job_id: UUID) -> list[IndexLine]:
    """Everybody of a job of duplicates, in the order of its request."""
    return [
        IndexLine(
            row.position,
            Code(row.code),
            row.first_name,
            row.last_name,
            row.certificate,
            row.number,
            group_code(row.verification) if row.verification else None,
        )
        for row in session.execute(READ_INDEX, {"job": job_id})
    ]
