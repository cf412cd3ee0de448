"""Jobs of a manager who ticked rows: password resets and invitations are sent again, with a result per row."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.contract import Contract
from models.link import MAILED, answer_invitation, answer_reset
from models.throttle import ThrottleScope
from models.words import Code, JobState
from workers.access.resending import (
    LockedRecipient,
    ResendAnswer,
    ResendRequest,
    ResendRule,
    counts_json,
    resend,
)
from workers.audit import record
from workers.database import Session, array, wait_briefly_for_locks
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, insert_people, one_or_none
from workers.enrollment.contracts import ContractKey
from workers.outbox.suppression import SUPPRESSED_SINCE
from workers.requests.accounts import ResendInvitations, ResetPasswords
from workers.requests.queues import URGENT_MAILS, Queue
from workers.requests.registry import parse
from workers.security.throttles import ThrottleSubject, address_subjects
from workers.sql import Unnest, fetch


class KnownContract(NamedTuple):
    """A contract that a request names."""

    portal_id: UUID
    reference: str
    id: UUID
    company_id: UUID


_NAMED_CONTRACTS: Final = Unnest(ContractKey, Contract, alias="given")

# The contracts are only read: no seat moves.
READ_CONTRACTS = text(f"""
    SELECT c.portal_id, c.reference, c.id, c.company_id FROM contract c
    JOIN {_NAMED_CONTRACTS} USING (portal_id, reference)""")

# Against choose_password, which takes the whole row: a person who is activated, or not, stays so. An enrollment, which
# only needs the address to stay, is not kept waiting.
LOCK_RECIPIENTS = text(f"""
    SELECT a.id AS account_id, a.email_norm AS email, a.locale, a.activated_at IS NOT NULL AS activated,
      e.withdrawn_at, e.id AS enrollment_id, e.contract_id, e.detached_at,
      {SUPPRESSED_SINCE.format(address="a.email_norm")} AS suppressed
    FROM enrollment e JOIN account a ON a.id = e.account_id
    WHERE e.id = ANY(CAST(:enrollments AS uuid[])) AND e.contract_id = ANY(CAST(:contracts AS uuid[]))
      AND a.erased_at IS NULL
    ORDER BY a.email_norm FOR NO KEY UPDATE OF a""")


@dataclass(frozen=True, slots=True)
class ResendSpec:
    """One kind of mail that is sent again for ticked rows.

    Parameters:
      rule: decides about each person.
      account, address, company, portal: the scopes that count a mail; `address` None counts no address.
      always_urgent: a person waits for each mail, however many rows were ticked.
    """

    rule: ResendRule
    account: ThrottleScope
    address: ThrottleScope | None
    company: ThrottleScope
    portal: ThrottleScope
    always_urgent: bool


RESET: Final = ResendSpec(
    answer_reset,
    ThrottleScope.RESET_ACCOUNT,
    ThrottleScope.RESET_ADDRESS,
    ThrottleScope.RESET_COMPANY,
    ThrottleScope.RESET_PORTAL,
    always_urgent=True,
)
INVITATION: Final = ResendSpec(
    answer_invitation,
    ThrottleScope.INVITATION_ACCOUNT,
    None,
    ThrottleScope.INVITATION_COMPANY,
    ThrottleScope.INVITATION_PORTAL,
    always_urgent=False,
)

TickedRows = ResetPasswords | ResendInvitations


class _TickedJob(NamedTuple):
    """One claimed job of a batch, and the contract it names (None: unknown)."""

    row: ClaimedRow
    request: TickedRows
    contract: KnownContract | None

    @property
    def portal_id(self) -> UUID:
        return self.row.columns.portal_id


def reset_passwords(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `reset_passwords` jobs; a person who never chose a password is sent the invitation's link."""
    return _do(session, rows, RESET)


def resend_invitations(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `resend_invitations` jobs: people who never chose a password are sent the same live link."""
    return _do(session, rows, INVITATION)


def _do(session: Session, rows: Sequence[ClaimedRow], spec: ResendSpec) -> list[WorkOutcome]:
    """Answers all jobs as one batch, in ledger order.

    Raises: a transient error of the database when an account or a throttle is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    jobs = _read_jobs(session, rows)
    people = _hold_recipients(session, jobs)
    requests = [[] if job.contract is None else _requests(job, job.contract, spec, people) for job in jobs]
    answers = iter(resend(session, [request for of_job in requests for request in of_job], spec.rule))
    answered = [(job, list(islice(answers, len(of_job)))) for job, of_job in zip(jobs, requests, strict=True)]
    insert_people(session, [one for job, of_job in answered if len(of_job) > 1 for one in _results(job, of_job)])
    return [_outcome(session, job, of_job) for job, of_job in answered]


def _read_jobs(session: Session, rows: Sequence[ClaimedRow]) -> list[_TickedJob]:
    requests = [cast("TickedRows", parse(row.columns.kind, row.columns.request)) for row in rows]
    keys = [ContractKey(row.columns.portal_id, request.contract) for row, request in zip(rows, requests, strict=True)]
    found = fetch(session, KnownContract, READ_CONTRACTS, _NAMED_CONTRACTS.parameters(sorted(set(keys))))
    contracts = {ContractKey(contract.portal_id, contract.reference): contract for contract in found}
    return [
        _TickedJob(row, request, contracts.get(key)) for row, request, key in zip(rows, requests, keys, strict=True)
    ]


def _hold_recipients(session: Session, jobs: Sequence[_TickedJob]) -> dict[UUID, LockedRecipient]:
    """Returns the people behind the rows of these contracts, by enrollment; their accounts are held."""
    enrollments = {enrollment for job in jobs for enrollment in job.request.enrollment_ids}
    contracts = {job.contract.id for job in jobs if job.contract}
    parameters = {"enrollments": array(enrollments), "contracts": array(contracts)}
    found = fetch(session, LockedRecipient, LOCK_RECIPIENTS, parameters)
    return {person.enrollment_id: person for person in found if person.enrollment_id}


def _requests(
    job: _TickedJob, contract: KnownContract, spec: ResendSpec, people: Mapping[UUID, LockedRecipient]
) -> list[ResendRequest]:
    """Returns a request for each ticked row.

    A row of another contract has no recipient: a portal learns nothing about the rows of others.
    """
    ids = job.request.enrollment_ids
    found = [people.get(enrollment_id) for enrollment_id in ids]
    recipients = [person if person and person.contract_id == contract.id else None for person in found]
    wide = (ThrottleSubject(spec.company, contract.company_id), ThrottleSubject(spec.portal, job.portal_id))
    queue = Queue.EMAILS if spec.always_urgent or len(ids) <= URGENT_MAILS else Queue.EMAILS_BULK
    hashes = address_subjects([person.email for person in recipients if person and spec.address])
    return [
        ResendRequest(job.row.id, position, contract.company_id, queue, person, (*_own(spec, person, hashes), *wide))
        for position, person in enumerate(recipients)
    ]


def _own(spec: ResendSpec, person: LockedRecipient | None, hashes: Mapping[str, UUID]) -> tuple[ThrottleSubject, ...]:
    """Returns the throttle subjects that count the mail of one person."""
    if person is None:
        return ()
    own = ThrottleSubject(spec.account, person.account_id)
    return (own, ThrottleSubject(spec.address, hashes[person.email])) if spec.address else (own,)


def _results(job: _TickedJob, answers: Iterable[ResendAnswer]) -> list[tuple[UUID, PersonResult]]:
    """Returns the results of a job, each with the job's id, in the order of the rows that were ticked."""
    return [
        (
            job.row.id,
            PersonResult(
                answer.request.position, answer.verdict.code, None, answer.account_id, row_id, answer.moment_json
            ),
        )
        for answer, row_id in zip(answers, job.request.enrollment_ids, strict=True)
    ]


def _outcome(session: Session, job: _TickedJob, answers: Sequence[ResendAnswer]) -> WorkOutcome:
    row, request, contract = job
    if contract is None:
        return WorkOutcome(row.id, row.claim, JobState.REFUSED, {"code": Code.UNKNOWN_CONTRACT, "field": "contract"})
    result = counts_json(answers)
    record(
        session,
        request.kind,
        portal_id=job.portal_id,
        requested_by=request.requested_by,
        company_id=contract.company_id,
        subject_id=contract.id,
        account_id=answers[0].account_id if len(answers) == 1 else None,
        job_id=row.id,
        detail=result,
    )
    result |= one_or_none([person for _, person in _results(job, answers)])
    sent = any(answer.verdict.code in MAILED for answer in answers)
    return WorkOutcome(row.id, row.claim, JobState.SUCCEEDED if sent else JobState.REFUSED, result)
