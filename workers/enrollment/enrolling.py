"""Enrolling people: one set-based operation for one person, ten rows or a hundred thousand.

Lock order, here as everywhere: job rows, contracts by id, accounts by address, enrollments, counters. The caller holds
the job rows and owns the transaction.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import text

from models.contract import closed_because
from models.enrollment import Capacity, EnrollmentPlan, EnrollmentVerdict, plan_enrollments
from models.person import Person, Refusal, check_person
from models.words import Code, Policy
from workers.database import Session, wait_briefly_for_locks
from workers.engine.results import PersonResult
from workers.enrollment import rows
from workers.outbox.suppression import read_suppressed
from workers.requests.enrollment import Enroll

LOCK_CONTRACTS = text("""
    SELECT c.id, c.portal_id, c.reference, c.company_id, c.planned_seats, c.enrolled_count, c.starts_on, c.ends_on,
      CAST(now() AT TIME ZONE 'Europe/Paris' AS date) AS today
    FROM contract c
    JOIN (SELECT DISTINCT * FROM unnest(CAST(:portals AS uuid[]), CAST(:references AS text[]))) m (portal_id, reference)
      ON m.portal_id = c.portal_id AND m.reference = c.reference
    ORDER BY c.id FOR NO KEY UPDATE OF c""")

READ_LIVE_ENROLLMENTS = text("""
    SELECT e.contract_id, a.email_norm, e.account_id, e.id, e.detached_at
    FROM enrollment e JOIN account a ON a.id = e.account_id
    WHERE e.contract_id = ANY(CAST(:contracts AS uuid[])) AND e.account_id = ANY(CAST(:accounts AS uuid[]))
      AND e.withdrawn_at IS NULL""")


class EnrollmentTerms(Protocol):
    """On which contract people are enrolled, and how: what requests to enrol share."""

    @property
    def contract(self) -> str: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def notify(self) -> bool: ...
    @property
    def dry_run(self) -> bool: ...


@dataclass(slots=True)
class EnrollmentOrder:
    """One request to enrol people, or a part of one, as part of a batch.

    Parameters:
      job_id: the job it is.
      portal_id: whose contract references it speaks of.
      request: on which contract, and how.
      people: the rows to do now, checked.
      first_position: the place of the first of them in the request (in chunks; else 0).
      taken: addresses accepted in earlier chunks of the same request.
      urgent: somebody is waiting for the mails.
      planned: seats that earlier chunks of a dry run have planned.
    """

    job_id: UUID
    portal_id: UUID
    request: EnrollmentTerms
    people: Sequence[Person | Refusal]
    first_position: int = 0
    taken: AbstractSet[str] = frozenset()
    urgent: bool = False
    planned: int = 0


@dataclass(slots=True)
class EnrollmentAnswer:
    """What happened to one request.

    Parameters:
      code: why the request as a whole was refused, or None.
      people: a result per person, in input order.
      plan: what was decided, or None when refused as a whole.
      contract: the contract after it, or None when it is unknown.
    """

    order: EnrollmentOrder
    code: Code | None
    people: list[PersonResult]
    plan: EnrollmentPlan | None
    contract: "LockedContract | None"

    @property
    def refused(self) -> bool:
        """Nothing was done for anybody."""
        return self.plan is None or self.plan.refused


@dataclass(frozen=True, slots=True)
class LockedContract:
    """A contract whose row this transaction holds, as the requests planned so far leave it.

    Parameters:
      closed: why nobody can be enrolled on it now, or None.
      live: the addresses of this batch that are enrolled on it.
    """

    id: UUID
    company_id: UUID
    planned_seats: int
    enrolled_count: int
    closed: Code | None
    live: AbstractSet[str] = frozenset()

    def after(self, plan: EnrollmentPlan) -> "LockedContract":
        """The contract once this plan is carried out."""
        joining = plan.joining
        return replace(self, enrolled_count=self.enrolled_count + len(joining), live=self.live | joining)


class _LiveEnrollment(NamedTuple):
    """Somebody enrolled on a contract. `detached_at`: when they said that this was not them, after they had begun."""

    account_id: UUID
    enrollment_id: UUID
    detached_at: datetime | None = None


def check_people(request: Enroll, start: int = 0, stop: int | None = None) -> list[Person | Refusal]:
    """The rows of a request judged one by one: somebody to enrol, or the refusal their own values earned."""
    return [
        check_person(person.email, person.first_name, person.last_name, person.locale, person.external_id)
        for person in request.people[start:stop]
    ]


def enroll(session: Session, orders: Sequence[EnrollmentOrder]) -> list[EnrollmentAnswer]:
    """Enrols the people of one or more requests, in order, and owes their mails.

    Each request keeps its own policy and its own answer; what the earlier ones took, the later ones do not find.
    A dry run is planned under the same locks and not written.

    Raises: Transient errors of the database (a contract held for over 250 ms, a deadlock): the batch may be done again.
    """
    contracts = _lock_contracts(session, orders)
    addresses = _addresses(orders)
    accounts = rows.read_accounts(session, addresses)
    live = _read_live(session, contracts, accounts)
    contracts = {key: replace(one, live=frozenset(live.get(one.id, ()))) for key, one in contracts.items()}
    planned = _plan_in_order(orders, contracts, frozenset(accounts), read_suppressed(session, addresses))
    joined = rows.write(session, [one for order in planned for one in order.joining], accounts)
    for one in joined.values():
        live.setdefault(one.contract_id, {})[one.person.email_norm] = _LiveEnrollment(one.account_id, one.enrollment_id)
    return [_answer(order, decided, live, joined) for order, decided in zip(orders, planned, strict=True)]


def _lock_contracts(session: Session, orders: Sequence[EnrollmentOrder]) -> dict[tuple[UUID, str], LockedContract]:
    # For the whole transaction: who holds contracts may not wait long for an account somebody else is making either.
    wait_briefly_for_locks(session)
    found = session.execute(
        LOCK_CONTRACTS,
        {
            "portals": [order.portal_id for order in orders],
            "references": [order.request.contract for order in orders],
        },
    ).all()
    return {(row.portal_id, row.reference): _locked(row) for row in found}


def _locked(row: Any) -> LockedContract:
    starts_on: date | None = row.starts_on
    return LockedContract(
        id=row.id,
        company_id=row.company_id,
        planned_seats=row.planned_seats,
        enrolled_count=row.enrolled_count,
        closed=closed_because(starts_on, row.ends_on, row.today),
    )


def _addresses(orders: Sequence[EnrollmentOrder]) -> list[str]:
    return sorted({p.email_norm for order in orders for p in order.people if isinstance(p, Person)})


def _read_live(
    session: Session,
    contracts: dict[tuple[UUID, str], LockedContract],
    accounts: dict[str, rows.KnownAccount],
) -> dict[UUID, dict[str, _LiveEnrollment]]:
    """Live enrollments by contract and address."""
    live: dict[UUID, dict[str, _LiveEnrollment]] = {}
    if not contracts or not accounts:
        return live
    parameters = {"contracts": [c.id for c in contracts.values()], "accounts": [a.id for a in accounts.values()]}
    for contract_id, email, *enrolled in session.execute(READ_LIVE_ENROLLMENTS, parameters):
        live.setdefault(contract_id, {})[email] = _LiveEnrollment(*enrolled)
    return live


class _PlannedOrder(NamedTuple):
    """What one order comes to, and the contract as this order leaves it."""

    contract: LockedContract | None
    code: Code | None
    plan: EnrollmentPlan | None
    suppressed: Mapping[str, datetime]
    joining: Sequence[rows.JoiningPerson] = ()


def _plan_in_order(
    orders: Sequence[EnrollmentOrder],
    contracts: Mapping[tuple[UUID, str], LockedContract],
    known: AbstractSet[str],
    suppressed: Mapping[str, datetime],
) -> list[_PlannedOrder]:
    """Plans the orders one after the other: each finds the seats and accounts that those before it left."""
    standing, planned = dict(contracts), []
    for order in orders:
        key = (order.portal_id, order.request.contract)
        one = _plan(order, standing.get(key), known, suppressed)
        planned.append(one)
        if one.contract is not None and one.plan is not None and not order.request.dry_run:
            standing[key] = one.contract
            known = known | one.plan.joining  # an account planned on one contract is known to the next
    return planned


def _plan(
    order: EnrollmentOrder,
    contract: LockedContract | None,
    known: AbstractSet[str],
    suppressed: Mapping[str, datetime],
) -> _PlannedOrder:
    if contract is None or contract.closed:
        return _PlannedOrder(contract, contract.closed if contract else Code.UNKNOWN_CONTRACT, None, suppressed)
    seats_left = contract.planned_seats - contract.enrolled_count - order.planned
    capacity = Capacity(seats_left, known, contract.live, suppressed)
    plan = plan_enrollments(order.people, capacity, order.request.policy, order.taken)
    if order.request.dry_run:
        return _PlannedOrder(contract, None, plan, suppressed)
    return _PlannedOrder(contract.after(plan), None, plan, suppressed, _joining(order, contract, plan))


def _joining(order: EnrollmentOrder, contract: LockedContract, plan: EnrollmentPlan) -> list[rows.JoiningPerson]:
    return [
        rows.JoiningPerson(
            person=person,
            code=verdict.code,
            position=order.first_position + index,
            contract_id=contract.id,
            company_id=contract.company_id,
            job_id=order.job_id,
            notify=order.request.notify,
            urgent=order.urgent,
        )
        for index, (person, verdict) in enumerate(zip(order.people, plan.verdicts, strict=True))
        if isinstance(person, Person) and verdict.code in (Code.ENROLLED, Code.ATTACHED)
    ]


def _answer(
    order: EnrollmentOrder,
    planned: _PlannedOrder,
    live: Mapping[UUID, Mapping[str, _LiveEnrollment]],
    joined: Mapping[UUID, rows.JoiningPerson],
) -> EnrollmentAnswer:
    if planned.plan is None or planned.contract is None:
        code = planned.code or Code.UNKNOWN_CONTRACT
        refused = [
            PersonResult(order.first_position + i, code, "contract", None, None) for i in range(len(order.people))
        ]
        return EnrollmentAnswer(order, code, refused, None, planned.contract)
    mine = {one.position: joined[one.enrollment_id] for one in planned.joining}
    enrolled = live.get(planned.contract.id, {})
    people = []
    for index, (person, verdict) in enumerate(zip(order.people, planned.plan.verdicts, strict=True)):
        position = order.first_position + index
        joining = mine.get(position)
        if joining is not None:
            people.append(PersonResult(position, joining.code, None, joining.account_id, joining.enrollment_id))
        elif verdict.code is Code.ALREADY_ENROLLED and isinstance(person, Person):
            people.append(_already(position, enrolled.get(person.email_norm)))
        else:
            since = _left_alone_since(person, verdict, planned.suppressed)
            people.append(PersonResult(position, verdict.code, verdict.field, None, None, since))
    return EnrollmentAnswer(order, None, people, planned.plan, planned.contract)


def _left_alone_since(
    person: Person | Refusal, verdict: EnrollmentVerdict, suppressed: Mapping[str, datetime]
) -> dict[str, str] | None:
    """Since when no mail is sent to the address of a person who is refused for that."""
    if verdict.code is not Code.SUPPRESSED_ADDRESS or not isinstance(person, Person):
        return None
    return {"since": suppressed[person.email_norm].isoformat()}


def _already(position: int, known: _LiveEnrollment | None) -> PersonResult:
    """Already enrolled; of somebody who detached themselves after they had begun, it also says so, and since when."""
    if known is None:  # planned further up in a dry run
        return PersonResult(position, Code.ALREADY_ENROLLED, None, None, None)
    detail = None if known.detached_at is None else {"detached_since": known.detached_at.isoformat()}
    return PersonResult(position, Code.ALREADY_ENROLLED, None, known.account_id, known.enrollment_id, detail)
