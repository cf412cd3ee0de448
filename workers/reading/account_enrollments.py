"""Shows the trainings of a person who signed in at a portal."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.enrollment import PARTICIPATING
from workers.database import Session, text_array
from workers.portals.keys import KnownKey
from workers.sql import as_json, fetch

MOST: Final = 100
"""The most enrollments of a person that are shown, the latest of them."""

# The enrollments of an account on contracts of a portal, but for those that the person left.
READ_ENROLLMENTS = text(f"""
    SELECT e.id AS enrollment_id, c.reference AS contract, co.reference AS company, co.name AS company_name,
      t.reference AS training, t.title AS training_title, coalesce(t.access_url, po.access_url) AS access_url,
      e.progress, e.started_at, e.completed_at, e.enrolled_at, a.credential_version
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN company co ON co.id = c.company_id
    JOIN training t ON t.id = c.training_id JOIN portal po ON po.id = c.portal_id
    JOIN account a ON a.id = e.account_id
    WHERE e.account_id = :account AND c.portal_id = :portal AND {PARTICIPATING} AND a.erased_at IS NULL
      AND (CAST(:companies AS text[]) IS NULL OR co.reference = ANY(CAST(:companies AS text[])))
    ORDER BY e.enrolled_at DESC, e.id DESC LIMIT {MOST}""")


class AccountEnrollment(NamedTuple):
    """An enrollment of an account.

    Parameters:
      contract, company, training: their references.
      access_url: where the person reaches the training.
      credential_version: of the account; sessions that began with another one end.
    """

    enrollment_id: UUID
    contract: str
    company: str
    company_name: str
    training: str
    training_title: str
    access_url: str | None
    progress: str
    started_at: datetime | None
    completed_at: datetime | None
    enrolled_at: datetime
    credential_version: int


def list_account_enrollments(session: Session, key: KnownKey, account_id: UUID) -> list[dict[str, Any]]:
    """Lists the enrollments of an account that this key may see, the latest first; none of an unknown account."""
    companies = None if key.companies is None else text_array(key.companies)
    asked = {"account": account_id, "portal": key.portal_id, "companies": companies}
    return [as_json(one) for one in fetch(session, AccountEnrollment, READ_ENROLLMENTS, asked)]
