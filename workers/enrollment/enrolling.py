"""Enrolling people: one set-based operation for one person, ten rows or a hundred thousand.

Lock order, here as everywhere: job rows, contracts by id, accounts by address, enrollments, counters. The caller holds
the job rows and owns the transaction.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.domain_typo import did_you_mean
from models.enrollment import (
    LIVE,
    Capacity,
    EnrollmentPlan,
    EnrollmentVerdict,
    addresses_told,
    plan_enrollments,
)
from models.names import FullName, names_differ
from models.person import Fault, Person, Refusal, check_person
from models.words import Code, Policy, WebhookEvent
from workers.database import Session, array
from workers.engine.results import PersonResult
from workers.enrollment import rows
from workers.enrollment.contracts import ContractKey, LockedContract, lock_contracts
from workers.enrollment.questions import FreeQuestion, closed_questions
from workers.outbox.events import EnrollmentNews, tell_of_enrollments
from workers.outbox.suppression import read_suppressed
from workers.requests.enrollment import Enroll, RefusedPerson
from workers.sql import fetch

# The contracts are held: no enrollment joins or leaves them until this transaction ends.
READ_LIVE_ENROLLMENTS = text(f"""
    SELECT e.contract_id, a.email_norm, a.first_name, a.last_name, e.account_id, e.id AS enrollment_id, e.detached_at
    FROM enrollment e JOIN account a ON a.id = e.account_id
    WHERE e.contract_id = ANY(CAST(:contracts AS uuid[])) AND e.account_id = ANY(CAST(:accounts AS uuid[]))
      AND {LIVE}""")


class EnrollmentTerms(Protocol):
    """The contract and the options that all requests to enrol people have."""

    @property
    def contract(self) -> str: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def notify(self) -> bool: ...
    @property
    def dry_run(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class EnrollmentOrder:
    """One request to enrol people, or a chunk of one, as part of a batch.

    Parameters:
      job_id: the job of the request.
      portal_id: the portal that has the contract.
      request: the contract and the options.
      people: the rows to do now, checked.
      first_position: the position of the first of them in the request (in chunks; else 0).
      taken: addresses accepted in earlier chunks of the same request, each with its place, where it is known.
      lines: the lines of these people in a file; they are the places then, and else the positions in the request.
      urgent: a person is waiting for the mails.
      planned: seats that earlier chunks of a dry run have planned.
    """

    job_id: UUID
    portal_id: UUID
    request: EnrollmentTerms
    people: Sequence[Person | Refusal]
    first_position: int = 0
    taken: Mapping[str, int | None] = field(default_factory=dict)
    urgent: bool = False
    planned: int = 0
    lines: Sequence[int] | None = None

    @property
    def contract_key(self) -> ContractKey:
        """The contract it asks for."""
        return ContractKey(self.portal_id, self.request.contract)

    def place(self, index: int) -> int:
        """Returns the line of one of these people, or the position in the request, from 0."""
        return self.first_position + index if self.lines is None else self.lines[index]


@dataclass(frozen=True, slots=True)
class EnrollmentAnswer:
    """The end of one request.

    Parameters:
      code: why the request as a whole was refused, or None.
      people: a result per person, in input order.
      plan: the decision, or None when the request was refused as a whole.
      contract: the contract as the request leaves it, or None when it is unknown.
      opens: when a request that is `throttled` may be made again, else None.
    """

    order: EnrollmentOrder
    code: Code | None
    people: list[PersonResult]
    plan: EnrollmentPlan | None
    contract: LockedContract | None
    opens: datetime | None = None

    @property
    def refused(self) -> bool:
        """Whether nothing was done for any person."""
        return self.plan is None or self.plan.refused


class _LiveEnrollment(NamedTuple):
    """A person enrolled on a contract; `detached_at` is set when the person began and then said "this is not me"."""

    contract_id: UUID
    email_norm: str
    first_name: str
    last_name: str
    account_id: UUID
    enrollment_id: UUID
    detached_at: datetime | None = None


_EnrolledByAddress = Mapping[UUID, Mapping[str, _LiveEnrollment]]
"""Live enrollments by contract and address."""


def check_people(request: Enroll, start: int = 0, stop: int | None = None) -> list[Person | Refusal]:
    """Judges rows of a request one by one: each is a person to enrol, or the refusal its own values earned."""
    return [
        _refuse(person)
        if isinstance(person, RefusedPerson)
        else check_person(person.email, person.first_name, person.last_name, person.locale, person.external_id)
        for person in request.people[start:stop]
    ]


def _refuse(person: RefusedPerson) -> Refusal:
    """Returns the refusal of a row with wrong fields, and the faults of its other fields."""
    faults = [Fault(Code.INVALID_REQUEST, name or "people") for name in person.wrong_fields]
    if isinstance(person.given, dict):
        found = check_person(person.email, person.first_name, person.last_name, person.locale, person.external_id)
        others = (found.faults or (Fault(found.code, found.field),)) if isinstance(found, Refusal) else ()
        faults += [fault for fault in others if fault.field not in person.wrong_fields]
    return Refusal(*faults[0], tuple(faults) if len(faults) > 1 else ())


def enroll(session: Session, orders: Sequence[EnrollmentOrder]) -> list[EnrollmentAnswer]:
    """Enrols the people of one or more requests, in order, and owes their mails.

    Each request keeps its own policy and its own answer; seats that an earlier one took are gone for the later ones.
    A dry run is planned under the same locks and not written.

    Raises: Transient errors of the database (a contract held for over 250 ms, a deadlock): the batch may be done again.
    """
    contracts = lock_contracts(session, [order.contract_key for order in orders])
    addresses = _addresses(orders)
    accounts = rows.read_accounts(session, addresses)
    live = _read_live(session, contracts.values(), accounts.values())
    enrolled = _by_address(live)
    standing = {key: replace(one, live=frozenset(enrolled.get(one.id, ()))) for key, one in contracts.items()}
    planned = _plan_in_order(orders, standing, frozenset(accounts), read_suppressed(session, addresses))
    planned = _count_questions(session, orders, planned)
    joined = rows.write(session, [one for order in planned for one in order.joining], accounts)
    _tell_enrolled(session, orders, joined.values())
    enrolled = _by_address([*live, *[_enrolled(one) for one in joined.values()]])
    return [_answer(order, decided, enrolled, joined) for order, decided in zip(orders, planned, strict=True)]


def _tell_enrolled(session: Session, orders: Sequence[EnrollmentOrder], joined: Collection[rows.JoiningPerson]) -> None:
    """Owes to the portals who was enrolled."""
    if not joined:
        return
    enrolled = WebhookEvent.PARTICIPANT_ENROLLED
    news = (
        EnrollmentNews(enrolled, one.enrollment_id, {"code": one.code, "job_id": str(one.job_id)}) for one in joined
    )
    tell_of_enrollments(session, {order.portal_id for order in orders}, {enrolled}, news)


def _addresses(orders: Sequence[EnrollmentOrder]) -> list[str]:
    return sorted({p.email_norm for order in orders for p in order.people if isinstance(p, Person)})


def _read_live(
    session: Session, contracts: Iterable[LockedContract], accounts: Iterable[rows.KnownAccount]
) -> list[_LiveEnrollment]:
    """Returns the live enrollments of these accounts on these contracts."""
    contract_ids, account_ids = {one.id for one in contracts}, [one.id for one in accounts]
    if not contract_ids or not account_ids:
        return []
    parameters = {"contracts": array(contract_ids), "accounts": array(account_ids)}
    return fetch(session, _LiveEnrollment, READ_LIVE_ENROLLMENTS, parameters)


def _by_address(enrollments: Iterable[_LiveEnrollment]) -> _EnrolledByAddress:
    found: dict[UUID, dict[str, _LiveEnrollment]] = {}
    for one in enrollments:
        found.setdefault(one.contract_id, {})[one.email_norm] = one
    return found


def _enrolled(one: rows.JoiningPerson) -> _LiveEnrollment:
    name = one.account_name or FullName(one.person.first_name, one.person.last_name)
    return _LiveEnrollment(one.contract_id, one.person.email_norm, *name, one.account_id, one.enrollment_id)


class _PlannedOrder(NamedTuple):
    """The plan of one order, and the contract as this order leaves it."""

    contract: LockedContract | None
    code: Code | None
    plan: EnrollmentPlan | None
    suppressed: Mapping[str, datetime]
    joining: Sequence[rows.JoiningPerson] = ()
    opens: datetime | None = None


def _count_questions(
    session: Session, orders: Sequence[EnrollmentOrder], planned: Sequence[_PlannedOrder]
) -> list[_PlannedOrder]:
    """Refuses orders that take no seat and would tell of too many addresses (``workers/enrollment/questions.py``)."""
    questions = [
        FreeQuestion(order.portal_id, one.contract.company_id, addresses_told(one.plan, dry_run=order.request.dry_run))
        if one.contract is not None and one.plan is not None
        else None
        for order, one in zip(orders, planned, strict=True)
    ]
    closed = closed_questions(session, questions)
    return [
        one if moment is None else one._replace(code=Code.THROTTLED, plan=None, joining=(), opens=moment)
        for one, moment in zip(planned, closed, strict=True)
    ]


def _plan_in_order(
    orders: Sequence[EnrollmentOrder],
    contracts: Mapping[ContractKey, LockedContract],
    known: AbstractSet[str],
    suppressed: Mapping[str, datetime],
) -> list[_PlannedOrder]:
    """Plans the orders one after the other: each finds the seats and accounts that those before it left."""
    standing, planned = dict(contracts), []
    for order in orders:
        one = _plan(order, standing.get(order.contract_key), known, suppressed)
        planned.append(one)
        if one.contract is not None and one.plan is not None and not order.request.dry_run:
            standing[order.contract_key] = one.contract
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
    plan = plan_enrollments(order.people, capacity, order.request.policy, order.taken.keys())
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
            enrollment_id=new_id(),
        )
        for index, (person, verdict) in enumerate(zip(order.people, plan.verdicts, strict=True))
        if isinstance(person, Person) and verdict.code in (Code.ENROLLED, Code.ATTACHED)
    ]


def _answer(
    order: EnrollmentOrder,
    planned: _PlannedOrder,
    enrolled: _EnrolledByAddress,
    joined: Mapping[UUID, rows.JoiningPerson],
) -> EnrollmentAnswer:
    if planned.plan is None or planned.contract is None:
        code = planned.code or Code.UNKNOWN_CONTRACT
        refused = [
            PersonResult(order.first_position + i, code, None if planned.opens else "contract", None, None)
            for i in range(len(order.people))
        ]
        return EnrollmentAnswer(order, code, refused, None, planned.contract, planned.opens)
    mine = {one.position: joined[one.enrollment_id] for one in planned.joining}
    by_address = enrolled.get(planned.contract.id, {})
    people = []
    for index, (person, verdict) in enumerate(zip(order.people, planned.plan.verdicts, strict=True)):
        position = order.first_position + index
        joining = mine.get(position)
        if joining is not None:
            result = _joined(position, joining)
        elif verdict.code is Code.ALREADY_ENROLLED and isinstance(person, Person):
            known = by_address.get(person.email_norm)
            result = _already_enrolled(position, person, known, dry_run=order.request.dry_run)
        else:
            result = PersonResult(position, verdict.code, verdict.field, None, None)
        if explained := _explain(order, person, verdict, planned.suppressed):
            result = result._replace(detail={**(result.detail or {}), **explained})
        people.append(result)
    return EnrollmentAnswer(order, None, people, planned.plan, planned.contract)


def _explain(
    order: EnrollmentOrder, person: Person | Refusal, verdict: EnrollmentVerdict, suppressed: Mapping[str, datetime]
) -> dict[str, Any]:
    """Returns the facts that explain a result.

    These are every fault of a person with more than one; the place of the earlier person with the same address; since
    when no mail is sent to the address; and the mail domain that was probably meant.
    """
    found: dict[str, Any] = {}
    address = person.email_norm or ""
    if verdict.faults:
        found["faults"] = [fault._asdict() for fault in verdict.faults]
    earlier = order.taken.get(address) if verdict.earlier is None else order.place(verdict.earlier)
    if earlier is not None and Code.DUPLICATE_IN_FILE in (verdict.code, *(fault.code for fault in verdict.faults)):
        found["earlier_position" if order.lines is None else "earlier_line"] = earlier
    if verdict.code is Code.SUPPRESSED_ADDRESS:
        found["since"] = suppressed[address].isoformat()
    if meant := did_you_mean(address):
        found["did_you_mean"] = meant
    return found


def _joined(position: int, joining: rows.JoiningPerson) -> PersonResult:
    """Returns the result of a person who got a seat; it tells when the account is registered under another name."""
    detail = _other_name(joining.person, joining.account_name)
    return PersonResult(position, joining.code, None, joining.account_id, joining.enrollment_id, detail or None)


def _already_enrolled(position: int, person: Person, known: _LiveEnrollment | None, *, dry_run: bool) -> PersonResult:
    """Returns the result of a person who is enrolled already.

    It tells when that person is detached, and since when, and when the account is registered under another name.
    """
    if known is None:  # planned further up in a dry run
        return PersonResult(position, Code.ALREADY_ENROLLED, None, None, None)
    detail = {} if known.detached_at is None else {"detached_since": known.detached_at.isoformat()}
    if not dry_run:
        detail |= _other_name(person, FullName(known.first_name, known.last_name))
    return PersonResult(position, Code.ALREADY_ENROLLED, None, known.account_id, known.enrollment_id, detail or None)


def _other_name(person: Person, known: FullName | None) -> dict[str, Any]:
    """Tells that the account has the name of another person, but never which name.

    A dry run does not call it: names at addresses could be tried out for nothing.
    """
    given = FullName(person.first_name, person.last_name)
    return {Code.NAMES_DIFFER.value: True} if known is not None and names_differ(given, known) else {}
