"""Withdrawing people: seats come back, mails still owed are cancelled, the person is told.

Lock order, here as everywhere: job rows, contracts by id, accounts by address, enrollments by id, counters. When a
withdrawal and a progress arrive at the same moment, the first to hold the enrollment decides; the other reads it as the
first one left it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.enrollment import LIVE, PARTICIPATING, Enrollment
from models.withdrawal import (
    WITHDRAWN_CODES,
    DecidedWithdrawals,
    WithdrawalCandidate,
    WithdrawalVerdict,
    decide_withdrawals,
)
from models.words import Code, EmailKind, JobState, Progress, WebhookEvent
from workers.audit import AuditChange, record_all
from workers.database import Session, array
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, one_or_none, record_people
from workers.enrollment.contracts import ContractKey, LockedContract, lock_contracts
from workers.outbox.events import EnrollmentNews, tell_of_enrollments
from workers.outbox.mails import OwedMail, cancel_mails_of_enrollments, owe
from workers.requests.enrollment import Withdraw
from workers.requests.internal import ReleaseSeats
from workers.requests.queues import URGENT_MAILS, Queue
from workers.requests.registry import parse
from workers.sql import Unnest, fetch


class HeldAccount(NamedTuple):
    """An account that keeps its address until this transaction ends."""

    id: UUID
    email_norm: str
    locale: str
    activated_at: datetime | None


class HeldEnrollment(NamedTuple):
    """An enrollment locked by this transaction; `since` is when it came to its progress, as the LMS said."""

    id: UUID
    contract_id: UUID
    account_id: UUID
    progress: str
    enrolled_at: datetime
    withdrawn_at: datetime | None
    detached_at: datetime | None
    release_warned_at: datetime | None
    now: datetime
    since: datetime | None


class LeavingEnrollment(NamedTuple):
    """An enrollment to withdraw, and the job that asks for it."""

    id: UUID
    job_id: UUID


_LEAVING: Final = Unnest(LeavingEnrollment, Enrollment, alias="given")

# A correction of the address waits for us and cancels the mail to the old one, or we wait and read the new one.
LOCK_ACCOUNTS = text(f"""
    SELECT a.id, a.email_norm, a.locale, a.activated_at FROM account a
    WHERE a.id IN (SELECT e.account_id FROM enrollment e
      WHERE e.id = ANY(CAST(:ids AS uuid[])) AND e.contract_id = ANY(CAST(:contracts AS uuid[]))
        AND e.progress = 'not_started' AND {LIVE})
    ORDER BY a.email_norm FOR KEY SHARE""")

# Enrollments of other contracts are not found, whatever the request says.
LOCK_ENROLLMENTS = text("""
    SELECT e.id, e.contract_id, e.account_id, e.progress, e.enrolled_at, e.withdrawn_at, e.detached_at,
      e.release_warned_at, now() AS now,
      CASE e.progress WHEN 'completed' THEN e.completed_at ELSE e.started_at END AS since
    FROM enrollment e WHERE e.id = ANY(CAST(:ids AS uuid[])) AND e.contract_id = ANY(CAST(:contracts AS uuid[]))
    ORDER BY e.id FOR NO KEY UPDATE""")

# The seats move by the rows that really changed, in the same statement.
WITHDRAW_ENROLLMENTS = text(f"""
    WITH leaving AS (SELECT * FROM {_LEAVING}),
    withdrawn AS (
      UPDATE enrollment e SET withdrawn_at = now(), next_reminder_at = NULL FROM leaving
      WHERE e.id = leaving.id AND e.progress = 'not_started' AND {PARTICIPATING}
      RETURNING e.id, e.contract_id, e.words, leaving.job_id),
    forgotten AS (
      DELETE FROM participant_word w
      USING withdrawn CROSS JOIN LATERAL unnest(string_to_array(withdrawn.words, ' ')) given
      WHERE w.contract_id = withdrawn.contract_id AND w.word = given AND w.enrollment_id = withdrawn.id),
    seats AS (
      INSERT INTO seat_movement (contract_id, enrollment_id, change, job_id)
      SELECT contract_id, id, -1, job_id FROM withdrawn)
    UPDATE contract c SET enrolled_count = c.enrolled_count - freed.seats
    FROM (SELECT contract_id, count(*) AS seats FROM withdrawn GROUP BY contract_id) freed
    WHERE c.id = freed.contract_id""")

FindStaying = Callable[
    [Session, Mapping[UUID, HeldEnrollment], Mapping[UUID, HeldAccount]], Mapping[UUID, WithdrawalVerdict]
]
"""Finds the enrollments that stay although the training is not begun, and why, while contracts, accounts and
enrollments are held.
"""


@dataclass(frozen=True, slots=True)
class WithdrawalReason:
    """Why people leave a contract: their manager withdraws them, or their unused seats are given back.

    Parameters:
      mail: the mail they are sent.
      find_staying: finds the people who do not leave although their seat could come back.
      awaited: whether a person waits for the mails when they are few.
    """

    mail: EmailKind
    find_staying: FindStaying
    awaited: bool


WITHDRAWN: Final = WebhookEvent.PARTICIPANT_WITHDRAWN

WITHDRAWAL: Final = WithdrawalReason(EmailKind.WITHDRAWAL, lambda *_: {}, awaited=True)


class _AskedWithdrawal(NamedTuple):
    row: ClaimedRow
    request: Withdraw | ReleaseSeats

    @property
    def contract_key(self) -> ContractKey:
        return ContractKey(self.row.columns.portal_id, self.request.contract)

    @property
    def notify(self) -> bool:
        """Whether the people are told; a manager may prefer to do so, a release always tells."""
        return not isinstance(self.request, Withdraw) or self.request.notify


class WithdrawalJob(NamedTuple):
    """One claimed job with the results of its people, and its contract as this job leaves it (None: unknown)."""

    asked: _AskedWithdrawal
    contract: LockedContract | None
    people: Sequence[PersonResult]

    @property
    def id(self) -> UUID:
        """The job's identifier."""
        return self.asked.row.id

    @property
    def withdrawn(self) -> list[tuple[UUID, UUID]]:
        """The people this job withdraws: the account and the enrollment of each."""
        return [
            (one.account_id, one.enrollment_id)
            for one in self.people
            if one.code is Code.WITHDRAWN and one.account_id and one.enrollment_id
        ]


def withdraw_jobs(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed `withdraw` jobs in ledger order; a later one finds what an earlier one withdrew.

    The activation link of a person who is withdrawn from every contract stays as it is. It opens an account and no
    training, only its address has it, and it ends by itself. Voided here, it would be missing from the invitation that
    another contract may owe at this moment, and a person enrolled again would meet a dead end.

    Raises: Transient errors of the database (a row held for over 250 ms, a deadlock): the batch may be done again.
    """
    return [outcome(job) for job in withdraw_and_record(session, rows, WITHDRAWAL)]


def withdraw_and_record(session: Session, rows: Sequence[ClaimedRow], reason: WithdrawalReason) -> list[WithdrawalJob]:
    """Withdraws the people of these jobs, and records the results per person and the audit trail."""
    jobs = withdraw(session, rows, reason)
    record_people(session, [(job.id, job.people) for job in jobs])
    record_all(session, [_change(job) for job in jobs if job.withdrawn])
    return jobs


def withdraw(session: Session, rows: Sequence[ClaimedRow], reason: WithdrawalReason) -> list[WithdrawalJob]:
    """Withdraws the people of these jobs in ledger order; a job done in chunks records results and audit on its own."""
    requests = [parse(row.columns.kind, row.columns.request, internal=True) for row in rows]
    asked = [
        _AskedWithdrawal(row, cast("Withdraw | ReleaseSeats", request))
        for row, request in zip(rows, requests, strict=True)
    ]
    contracts = lock_contracts(session, [one.contract_key for one in asked])
    named = {
        "ids": array(sorted({one for job in asked for one in job.request.enrollment_ids})),
        "contracts": array(contract.id for contract in contracts.values()),
    }
    told = any(one.notify for one in asked)
    accounts = {row.id: row for row in fetch(session, HeldAccount, LOCK_ACCOUNTS, named)} if told else {}
    enrollments = {row.id: row for row in fetch(session, HeldEnrollment, LOCK_ENROLLMENTS, named)}
    jobs = _decide(asked, contracts, enrollments, reason.find_staying(session, enrollments, accounts))
    withdraw_enrollments(session, [LeavingEnrollment(one, job.id) for job in jobs for _, one in job.withdrawn])
    _tell_withdrawn(session, jobs)
    cancel_mails_of_enrollments(session, [one for job in jobs for one in job.withdrawn])
    owe(session, [mail for job in jobs for mail in _mails(job, accounts, reason)])
    return jobs


def _tell_withdrawn(session: Session, jobs: Sequence[WithdrawalJob]) -> None:
    """Owes to the portals who was withdrawn, and by which kind of request: a release gives unused seats back."""
    news = [
        EnrollmentNews(WITHDRAWN, one, {"by": job.asked.request.kind, "job_id": str(job.id)})
        for job in jobs
        for _, one in job.withdrawn
    ]
    if news:
        tell_of_enrollments(session, {job.asked.contract_key.portal_id for job in jobs}, {WITHDRAWN}, news)


def withdraw_enrollments(session: Session, leaving: Sequence[LeavingEnrollment]) -> None:
    """Withdraws enrollments that are not begun and gives their seats back; this transaction holds their rows."""
    if leaving:
        session.execute(WITHDRAW_ENROLLMENTS, _LEAVING.parameters(leaving))


def _decide(
    asked: Sequence[_AskedWithdrawal],
    contracts: Mapping[ContractKey, LockedContract],
    enrollments: Mapping[UUID, HeldEnrollment],
    staying: Mapping[UUID, WithdrawalVerdict],
) -> list[WithdrawalJob]:
    """Decides the jobs one after the other: each finds the seats and enrollments that those before it left."""
    # Without a row no verdict uses the time.
    now = next((row.now for row in enrollments.values()), datetime.max.replace(tzinfo=UTC))
    standing, candidates, jobs = dict(contracts), _candidates(enrollments.values(), staying), []
    for one in asked:
        contract = standing.get(one.contract_key)
        if contract is None:
            jobs.append(WithdrawalJob(one, None, _unknown_contract(one)))
            continue
        decided = decide_withdrawals(one.request.enrollment_ids, candidates.get(contract.id, {}), now)
        candidates[contract.id] = decided.standings
        people = _people(one, decided, enrollments)
        # Only for the answer and the next job: the seats come back in WITHDRAW_ENROLLMENTS.
        freed = contract.given_back(sum(person.code is Code.WITHDRAWN for person in people))
        standing[one.contract_key] = freed
        jobs.append(WithdrawalJob(one, freed, people))
    return jobs


def _people(
    asked: _AskedWithdrawal, decided: DecidedWithdrawals, enrollments: Mapping[UUID, HeldEnrollment]
) -> list[PersonResult]:
    """Returns the results of one job. An enrollment of another contract has no account: it is not found."""
    found = zip(asked.request.enrollment_ids, decided.verdicts, strict=True)
    return [
        PersonResult(
            position, code, None, enrollments[one].account_id if one in decided.standings else None, one, detail
        )
        for position, (one, (code, detail)) in enumerate(found)
    ]


def _candidates(
    enrollments: Iterable[HeldEnrollment], staying: Mapping[UUID, WithdrawalVerdict]
) -> dict[UUID, dict[UUID, WithdrawalCandidate]]:
    """Returns the enrollments of each contract as they stand."""
    found: dict[UUID, dict[UUID, WithdrawalCandidate]] = {}
    for row in enrollments:
        found.setdefault(row.contract_id, {})[row.id] = WithdrawalCandidate(
            Progress(row.progress), row.since, row.withdrawn_at, row.detached_at, staying.get(row.id)
        )
    return found


def _unknown_contract(asked: _AskedWithdrawal) -> list[PersonResult]:
    return [
        PersonResult(position, Code.UNKNOWN_CONTRACT, "contract", None, None)
        for position in range(len(asked.request.enrollment_ids))
    ]


def _mails(job: WithdrawalJob, accounts: Mapping[UUID, HeldAccount], reason: WithdrawalReason) -> list[OwedMail]:
    contract, asked = job.contract, job.asked
    if contract is None or not asked.notify:
        return []
    awaited = reason.awaited and len(asked.request.enrollment_ids) <= URGENT_MAILS
    return [
        OwedMail(
            reason.mail,
            str(enrollment_id),
            contract.company_id,
            accounts[account_id].email_norm,
            accounts[account_id].locale,
            Queue.EMAILS if awaited else Queue.EMAILS_BULK,
            job_id=job.id,
            account_id=account_id,
            enrollment_id=enrollment_id,
            contract_id=contract.id,
        )
        for account_id, enrollment_id in job.withdrawn
    ]


def _change(job: WithdrawalJob) -> AuditChange:
    contract, alone = job.contract, job.people[0] if len(job.people) == 1 else None
    contract_id = contract.id if contract else None
    return AuditChange(
        job.asked.request.kind,
        portal_id=job.asked.contract_key.portal_id,
        requested_by=job.asked.request.requested_by,
        company_id=contract.company_id if contract else None,
        account_id=alone.account_id if alone else None,
        subject_id=alone.enrollment_id if alone else contract_id,
        job_id=job.id,
        detail={"counts": Counter(one.code for one in job.people)},
    )


def outcome(job: WithdrawalJob) -> WorkOutcome:
    """Returns the end of a job: the counts, and the contract's seats as the job left them."""
    counts = Counter(person.code for person in job.people)
    result: dict[str, Any] = {"counts": counts, "seats": counts[Code.WITHDRAWN]}
    result |= {"code": Code.UNKNOWN_CONTRACT} if job.contract is None else job.contract.counters
    done = any(counts[code] for code in WITHDRAWN_CODES)
    state = JobState.SUCCEEDED if done else JobState.REFUSED
    return WorkOutcome(job.id, job.asked.row.claim, state, result | one_or_none(job.people))
