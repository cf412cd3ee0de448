"""Finds an enrollment that a portal names by its identifier."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.database import Session
from workers.sql import fetch_one

# Finds an enrollment on a contract of this portal, with the references of both.
FIND_OWN = text("""
    SELECT e.id, c.reference AS contract, co.reference AS company
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN company co ON co.id = c.company_id
    WHERE e.id = :enrollment AND c.portal_id = :portal""")


class OwnEnrollment(NamedTuple):
    """An enrollment on a contract of a portal.

    Parameters:
      contract, company: their references.
    """

    id: UUID
    contract: str
    company: str


def find_own_enrollment(session: Session, portal_id: UUID, enrollment_id: UUID) -> OwnEnrollment | None:
    """Finds an enrollment of this portal; returns None when it has none with this identifier."""
    return fetch_one(session, OwnEnrollment, FIND_OWN, {"enrollment": enrollment_id, "portal": portal_id})
