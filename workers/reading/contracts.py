"""Contracts of a portal with their three counters, page by page."""

from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.database import Session, text_array
from workers.sql import fetch, fetch_one


class PortalContract(NamedTuple):
    """A contract as its portal sees it.

    Parameters:
      reference, company, training: the references of the contract, its company and its training.
      planned_seats, enrolled_count, remaining: Inscriptions prévues, Participants inscrits, Places restantes.
      version: changes whenever a row of the contract changes.
    """

    id: UUID
    reference: str
    company: str
    company_name: str
    training: str
    training_title: str
    planned_seats: int
    enrolled_count: int
    remaining: int
    starts_on: date | None
    ends_on: date | None
    manager_email: str | None
    manager_locale: str
    reminders: bool
    release_after_days: int | None
    version: str


_CONTRACTS: Final = """
    SELECT c.id, c.reference, co.reference AS company, co.name AS company_name, t.reference AS training,
      t.title AS training_title, c.planned_seats, c.enrolled_count, c.planned_seats - c.enrolled_count AS remaining,
      c.starts_on, c.ends_on, c.manager_email, c.manager_locale, c.reminders, c.release_after_days,
      CAST(c.xmin AS text) || '-' || CAST(co.xmin AS text) || '-' || CAST(t.xmin AS text) AS version
    FROM contract c JOIN company co ON co.id = c.company_id JOIN training t ON t.id = c.training_id"""

_ALLOWED: Final = "(CAST(:companies AS text[]) IS NULL OR co.reference = ANY(CAST(:companies AS text[])))"

# One contract of a portal.
READ_CONTRACT = text(f"{_CONTRACTS} WHERE c.portal_id = :portal AND c.reference = :reference AND {_ALLOWED}")

# The next contracts of a portal in the order of their references.
READ_CONTRACTS = text(f"""{_CONTRACTS}
    WHERE c.portal_id = :portal AND c.reference > :after AND {_ALLOWED}
    ORDER BY c.reference LIMIT :size""")


def show_contract(
    session: Session, portal_id: UUID, reference: str, companies: Sequence[str] | None = None
) -> PortalContract | None:
    """Returns a contract of a portal.

    Parameters:
      companies: the references of the companies it must belong to one of; None for any.
    """
    asked = {"portal": portal_id, "reference": reference, "companies": _texts(companies)}
    return fetch_one(session, PortalContract, READ_CONTRACT, asked)


def list_contracts(
    session: Session, portal_id: UUID, after: str, size: int, companies: Sequence[str] | None = None
) -> list[PortalContract]:
    """Lists contracts of a portal in the order of their references, those after this reference."""
    asked = {"portal": portal_id, "after": after, "size": size, "companies": _texts(companies)}
    return fetch(session, PortalContract, READ_CONTRACTS, asked)


def _texts(values: Sequence[str] | None) -> str | None:
    return None if values is None else text_array(values)
