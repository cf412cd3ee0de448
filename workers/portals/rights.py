"""The requests that a key of a portal may send, by its scopes and its companies. Every door asks here.

A key for some companies may send a request that names records of these alone. What is not recorded belongs to no
company: such a key cannot enrol on a contract before the contract is recorded, because it may become that of another
company. An enrollment or an import that is unknown is let through, as its identifier was never given out: the request
is answered with `not_found`, as one about another portal's is.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.words import Code
from workers.database import Session
from workers.portals.keys import KnownKey
from workers.requests.base import Request
from workers.requests.imports import ImportRoster
from workers.sql import Unnest, fetch


class AskedRequest(NamedTuple):
    """A request and the key with which it came."""

    key: KnownKey
    request: Request


class _GivenRecord(NamedTuple):
    place: int
    portal: UUID
    contract: str | None = None
    enrollment: UUID | None = None
    job: UUID | None = None


class _OwningCompany(NamedTuple):
    place: int
    contract: str | None
    company: str | None


_GIVEN: Final = Unnest(
    _GivenRecord,
    None,
    others={"place": "integer", "portal": "uuid", "contract": "text", "enrollment": "uuid", "job": "uuid"},
    alias="g",
    one_by_one=True,
)

# Finds the company of each named contract, enrollment and import of a portal; none for a contract that is unknown. Only
# imports are read as JSON: in others a name may hold U+0000, which PostgreSQL cannot read out of it.
FIND_COMPANIES = text(f"""
    WITH given AS MATERIALIZED (SELECT * FROM {_GIVEN}),
    named AS (
      SELECT g.place, g.contract, c.company_id
      FROM given g LEFT JOIN contract c ON c.portal_id = g.portal AND c.reference = g.contract
      WHERE g.contract IS NOT NULL
      UNION ALL
      SELECT g.place, NULL, c.company_id
      FROM given g JOIN enrollment e ON e.id = g.enrollment
      JOIN contract c ON c.id = e.contract_id AND c.portal_id = g.portal
      UNION ALL
      SELECT g.place, NULL, c.company_id
      FROM given g JOIN job j ON j.id = g.job AND j.portal_id = g.portal
      LEFT JOIN contract c ON c.portal_id = j.portal_id
        AND c.reference = CASE WHEN j.kind = '{ImportRoster.kind}' THEN j.request ->> 'contract' END)
    SELECT n.place, n.contract, co.reference AS company FROM named n LEFT JOIN company co ON co.id = n.company_id""")


def as_sent_by(key: KnownKey, request: Request, body: str) -> tuple[Request, str]:
    """Returns a request and its JSON as this key sends them: about its own companies, where the request names none."""
    limited = request if key.companies is None else request.limited_to(key.companies)
    return (request, body) if limited is request else (limited, limited.model_dump_json(exclude_unset=True))


def refusal(session: Session, key: KnownKey, request: Request) -> Code | None:
    """Returns why this key may not send this request, or None when it may; see ``refusals``."""
    return refusals(session, [AskedRequest(key, request)])[0]


def refusals(session: Session, asked: Sequence[AskedRequest]) -> list[Code | None]:
    """Returns for each request why its key may not send it, or None when it may. Keys for all companies ask nothing.

    Returns: None or `insufficient_scope`.
    """
    owners = _find_owners(session, asked)
    return [
        None if has_scope(*one) and _may_name_all(one, owners[place]) else Code.INSUFFICIENT_SCOPE
        for place, one in enumerate(asked)
    ]


def has_scope(key: KnownKey, request: Request) -> bool:
    """Tells whether a key has the scope of a request. No key has that of a request that only Matricule makes."""
    return request.scope is not None and not request.internal and key.may(request.scope)


def _may_name_all(asked: AskedRequest, owners: Sequence[_OwningCompany]) -> bool:
    """Tells whether the key may name every company that the request is about."""
    if asked.key.companies is None:
        return True
    subjects = asked.request.subjects
    if subjects.all_companies:
        return False
    named = [*subjects.companies, *(owner.company for owner in owners)]
    return all(company is not None and asked.key.may_name(company) for company in named)


def _find_owners(session: Session, asked: Sequence[AskedRequest]) -> dict[int, list[_OwningCompany]]:
    """Finds the companies of the records that requests name, by the place of the request."""
    owners: dict[int, list[_OwningCompany]] = defaultdict(list)
    given = [record for place, one in enumerate(asked) for record in _records(place, one)]
    if given:
        parameters: dict[str, Any] = _GIVEN.parameters(given)
        for owner in fetch(session, _OwningCompany, FIND_COMPANIES, parameters):
            owners[owner.place].append(owner)
    return owners


def _records(place: int, asked: AskedRequest) -> Iterator[_GivenRecord]:
    """Yields the records of a request for which the company is to be found."""
    key = asked.key
    if key.companies is None or not has_scope(*asked):
        return
    subjects = asked.request.subjects
    for contract in subjects.contracts:
        yield _GivenRecord(place, key.portal_id, contract=contract)
    for enrollment in subjects.enrollments:
        yield _GivenRecord(place, key.portal_id, enrollment=enrollment)
    for job in subjects.jobs:
        yield _GivenRecord(place, key.portal_id, job=job)
