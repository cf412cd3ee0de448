"""Contracts locked by a transaction, so that their seats change hands one request after the other."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import date
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.contract import Contract, SeatUse, closed_because
from models.enrollment import EnrollmentPlan
from models.paris import TODAY_IN_PARIS
from models.words import Code
from workers.database import Session, wait_briefly_for_locks
from workers.outbox.events import HeldSeats, watch_seats
from workers.sql import Unnest, fetch


class ContractKey(NamedTuple):
    """The name a portal has for a contract of its own."""

    portal_id: UUID
    reference: str


class _ContractRow(NamedTuple):
    id: UUID
    portal_id: UUID
    reference: str
    company_id: UUID
    planned_seats: int
    enrolled_count: int
    starts_on: date | None
    ends_on: date | None
    today: date


_NAMED_CONTRACTS: Final = Unnest(ContractKey, Contract, alias="given")

# FOR NO KEY UPDATE: other transactions may insert rows that refer to the contract without waiting. A contract keeps its
# portal and its reference, so that it may be found before it is locked. LIMIT 1 leaves the planner one way, to look up
# each name in the unique index: as a join it reads all contracts for a batch of many names.
LOCK_CONTRACTS = text(f"""
    SELECT c.id, c.portal_id, c.reference, c.company_id, c.planned_seats, c.enrolled_count, c.starts_on, c.ends_on,
      {TODAY_IN_PARIS} AS today
    FROM contract c
    WHERE c.id = ANY(ARRAY(
      SELECT named.id FROM {_NAMED_CONTRACTS} CROSS JOIN LATERAL (
        SELECT n.id FROM contract n
        WHERE n.portal_id = given.portal_id AND n.reference = given.reference LIMIT 1) named))
    ORDER BY c.id FOR NO KEY UPDATE OF c""")


@dataclass(frozen=True, slots=True)
class LockedContract:
    """A contract locked by this transaction, as the requests decided so far leave it.

    Parameters:
      closed: why no person can be enrolled on it now, or None.
      live: the addresses of this batch that are enrolled on it.
    """

    id: UUID
    company_id: UUID
    planned_seats: int
    enrolled_count: int
    closed: Code | None
    live: AbstractSet[str] = frozenset()

    def after(self, plan: EnrollmentPlan) -> "LockedContract":
        """Returns the contract once this plan is carried out."""
        joining = plan.joining
        return replace(self, enrolled_count=self.enrolled_count + len(joining), live=self.live | joining)

    def given_back(self, seats: int) -> "LockedContract":
        """Returns the contract once so many of its seats are given back."""
        return replace(self, enrolled_count=self.enrolled_count - seats)

    @property
    def counters(self) -> dict[str, int]:
        """The three counters that managers read, as the results of jobs show them."""
        return {
            "planned_seats": self.planned_seats,
            "enrolled_count": self.enrolled_count,
            "remaining": self.planned_seats - self.enrolled_count,
        }


def lock_contracts(session: Session, named: Iterable[ContractKey]) -> dict[ContractKey, LockedContract]:
    """Locks these contracts in the order of their ids; a name that no contract has is left out.

    From here on the transaction waits 250 ms at most for any lock: a transaction that holds contracts may not wait long
    for an account that another one is making either.
    """
    wait_briefly_for_locks(session)
    found = fetch(session, _ContractRow, LOCK_CONTRACTS, _NAMED_CONTRACTS.parameters(list(dict.fromkeys(named))))
    seats = [HeldSeats(row.id, row.portal_id, SeatUse(row.planned_seats, row.enrolled_count)) for row in found]
    watch_seats(session, seats)
    return {ContractKey(row.portal_id, row.reference): _locked(row) for row in found}


def _locked(row: _ContractRow) -> LockedContract:
    return LockedContract(
        id=row.id,
        company_id=row.company_id,
        planned_seats=row.planned_seats,
        enrolled_count=row.enrolled_count,
        closed=closed_because(row.starts_on, row.ends_on, row.today),
    )
