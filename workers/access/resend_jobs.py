"""Jobs of a manager who ticked rows: password resets and invitations again, a result per row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.link import MAILED, answer_invitation, answer_reset
from models.throttle import ThrottleScope
from models.words import Code, JobState
from workers.access.resending import (
    LockedRecipient,
    ResendRequest,
    Rule,
    counts,
    moment_json,
    send_again,
)
from workers.audit import record
from workers.database import Session, array, wait_briefly_for_locks
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, insert_people, one_or_none
from workers.outbox.suppression import SUPPRESSED_SINCE
from workers.requests.accounts import ResendInvitations, ResetPasswords
from workers.requests.queues import URGENT_MAILS, Queue
from workers.requests.registry import parse
from workers.security.throttles import ThrottleSubject, address_subjects

FIND_CONTRACTS = text("""
    SELECT c.portal_id, c.reference, c.id, c.company_id FROM contract c
    JOIN unnest(CAST(:portals AS uuid[]), CAST(:references AS text[])) t (portal_id, reference)
      USING (portal_id, reference)""")

# Against choose_password, which takes the whole row: who is activated or not stays so. An enrollment, which only needs
# the address to stay, is not kept waiting.
LOCK_RECIPIENTS = text(f"""
    SELECT a.id, a.email_norm, a.locale, a.activated_at IS NOT NULL, e.withdrawn_at, e.id, e.contract_id, e.detached_at,
      {SUPPRESSED_SINCE.format(address="a.email_norm")}
    FROM enrollment e JOIN account a ON a.id = e.account_id
    WHERE e.id = ANY(CAST(:enrollments AS uuid[])) AND e.contract_id = ANY(CAST(:contracts AS uuid[]))
      AND a.erased_at IS NULL
    ORDER BY a.email_norm FOR NO KEY UPDATE OF a""")


@dataclass(frozen=True, slots=True)
class ResendSpec:
    """What ticked rows are to be sent.

    Parameters:
      person: the scopes counted against each account, and against each address if any.
    """

    rule: Rule
    account: ThrottleScope
    address: ThrottleScope | None
    company: ThrottleScope
    portal: ThrottleScope


RESET: Final = ResendSpec(
    answer_reset,
    ThrottleScope.RESET_ACCOUNT,
    ThrottleScope.RESET_ADDRESS,
    ThrottleScope.RESET_COMPANY,
    ThrottleScope.RESET_PORTAL,
)
INVITATION: Final = ResendSpec(
    answer_invitation,
    ThrottleScope.INVITATION_ACCOUNT,
    None,
    ThrottleScope.INVITATION_COMPANY,
    ThrottleScope.INVITATION_PORTAL,
)


class KnownContract(NamedTuple):
    """A contract a request speaks of."""

    id: UUID
    company_id: UUID


Ticked = ResetPasswords | ResendInvitations


class ResendJob(NamedTuple):
    """One claimed job of a batch."""

    row: ClaimedRow
    request: Ticked
    contract: KnownContract | None
    asks: list[ResendRequest]

    @property
    def answered(self) -> list[tuple[ResendRequest, UUID]]:
        """Each ask with the row that was ticked for it."""
        return list(zip(self.asks, self.request.enrollment_ids, strict=True))


def reset_passwords(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `reset_passwords` jobs: a reset, or the invitation's link to who never chose a password."""
    return _do(session, rows, RESET)


def resend_invitations(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `resend_invitations` jobs: the same live link to who never chose a password."""
    return _do(session, rows, INVITATION)


def _do(session: Session, rows: Sequence[ClaimedRow], errand: ResendSpec) -> list[WorkOutcome]:
    """Answers all jobs as one batch, in ledger order.

    Raises: a transient error of the database when an account or a throttle is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    requests = [cast("Ticked", parse(row.columns["kind"], row.columns["request"])) for row in rows]
    contracts = _find_contracts(session, rows, requests)
    recipients = _hold_recipients(session, contracts, requests)
    orders = []
    for row, request in zip(rows, requests, strict=True):
        contract = contracts.get((row.columns["portal_id"], request.contract))
        asks = [] if contract is None else _asks(row, request, contract, errand, recipients)
        orders.append(ResendJob(row, request, contract, asks))
    send_again(session, [ask for order in orders for ask in order.asks], errand.rule)
    several = [order for order in orders if len(order.asks) > 1]
    insert_people(session, [(ask.job_id, _result(ask, row_id)) for order in several for ask, row_id in order.answered])
    return [_outcome(session, order) for order in orders]


def _find_contracts(
    session: Session, rows: Sequence[ClaimedRow], requests: Sequence[Ticked]
) -> dict[tuple[UUID, str], KnownContract]:
    named = {(row.columns["portal_id"], request.contract) for row, request in zip(rows, requests, strict=True)}
    portals, references = zip(*sorted(named), strict=True)
    found = session.execute(FIND_CONTRACTS, {"portals": list(portals), "references": list(references)})
    return {(portal, reference): KnownContract(contract, company) for portal, reference, contract, company in found}


def _hold_recipients(
    session: Session, contracts: Mapping[Any, KnownContract], requests: Sequence[Ticked]
) -> dict[UUID, LockedRecipient]:
    """The people behind the rows of these contracts, by enrollment; their accounts are held."""
    enrollments = {enrollment for request in requests for enrollment in request.enrollment_ids}
    parameters = {"enrollments": array(enrollments), "contracts": [contract.id for contract in contracts.values()]}
    found = [LockedRecipient(*row) for row in session.execute(LOCK_RECIPIENTS, parameters)]
    return {person.enrollment_id: person for person in found if person.enrollment_id}


def _asks(
    row: ClaimedRow,
    request: Ticked,
    contract: KnownContract,
    errand: ResendSpec,
    people: Mapping[UUID, LockedRecipient],
) -> list[ResendRequest]:
    """An ask per row ticked. A row of another contract is nobody's: a portal learns nothing of what is not its own."""
    found = [people.get(enrollment_id) for enrollment_id in request.enrollment_ids]
    recipients = [person if person and person.contract_id == contract.id else None for person in found]
    wide = (
        ThrottleSubject(errand.company, contract.company_id),
        ThrottleSubject(errand.portal, row.columns["portal_id"]),
    )
    few = errand is RESET or len(request.enrollment_ids) <= URGENT_MAILS
    queue = Queue.EMAILS if few else Queue.EMAILS_BULK
    hashes = address_subjects([person.email for person in recipients if person and errand.address])
    return [
        ResendRequest(row.id, position, contract.company_id, queue, person, (*_own(errand, person, hashes), *wide))
        for position, person in enumerate(recipients)
    ]


def _own(errand: ResendSpec, person: LockedRecipient | None, hashes: Mapping[str, UUID]) -> tuple[ThrottleSubject, ...]:
    """What one person's mails are counted against."""
    if person is None:
        return ()
    own = ThrottleSubject(errand.account, person.account_id)
    return (own, ThrottleSubject(errand.address, hashes[person.email])) if errand.address else (own,)


def _result(ask: ResendRequest, enrollment_id: UUID) -> PersonResult:
    account_id = ask.recipient.account_id if ask.recipient else None
    return PersonResult(ask.position, ask.answer.code, None, account_id, enrollment_id, moment_json(ask.answer))


def _outcome(session: Session, order: ResendJob) -> WorkOutcome:
    row, request, contract, asks = order
    if contract is None:
        return WorkOutcome(row.id, row.claim, JobState.REFUSED, {"code": Code.UNKNOWN_CONTRACT, "field": "contract"})
    result = counts(asks)
    record(
        session,
        request.kind,
        portal_id=row.columns["portal_id"],
        requested_by=request.requested_by,
        company_id=contract.company_id,
        subject_id=contract.id,
        account_id=asks[0].recipient.account_id if len(asks) == 1 and asks[0].recipient else None,
        job_id=row.id,
        detail=result,
    )
    result |= one_or_none([_result(ask, row_id) for ask, row_id in order.answered])
    sent = any(ask.answer.code in MAILED for ask in asks)
    return WorkOutcome(row.id, row.claim, JobState.SUCCEEDED if sent else JobState.REFUSED, result)
