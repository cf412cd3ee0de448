"""Withdrawing people: seats come back, mails still owed are cancelled, the person is told.

Lock order, here as everywhere: job rows, contracts by id, accounts by address, enrollments by id, counters. Of a
withdrawal and a progress that arrive at the same moment the first to hold the enrollment decides; the other reads it as
that one left it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.withdrawal import WITHDRAWN_CODES, WithdrawalCandidate, WithdrawalVerdict, decide_withdrawals
from models.words import Code, EmailKind, JobState, Progress
from workers.audit import AuditChange, record_all
from workers.database import Session, wait_briefly_for_locks
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, one_or_none, record_people
from workers.enrollment.enrolling import LOCK_CONTRACTS
from workers.outbox.mails import OwedMail, cancel_mails_of_enrollments, owe
from workers.requests.enrollment import Withdraw
from workers.requests.internal import ReleaseSeats
from workers.requests.queues import URGENT_MAILS, Queue
from workers.requests.registry import parse

# A correction of the address waits for us and cancels the mail to the old one, or we wait and read the new one.
LOCK_ACCOUNTS = text("""
    SELECT id, email_norm, locale, activated_at FROM account
    WHERE id IN (SELECT account_id FROM enrollment
      WHERE id = ANY(CAST(:ids AS uuid[])) AND contract_id = ANY(CAST(:contracts AS uuid[]))
        AND progress = 'not_started' AND withdrawn_at IS NULL)
    ORDER BY email_norm FOR KEY SHARE""")

LOCK_ENROLLMENTS = text("""
    SELECT id, contract_id, account_id, progress, enrolled_at, withdrawn_at, detached_at, release_warned_at,
      now() AS now,
      CASE progress WHEN 'completed' THEN completed_at ELSE started_at END AS since
    FROM enrollment WHERE id = ANY(CAST(:ids AS uuid[])) AND contract_id = ANY(CAST(:contracts AS uuid[]))
    ORDER BY id FOR NO KEY UPDATE""")

# The seats move by the rows that really changed, in the same statement.
WITHDRAW_ENROLLMENTS = text("""
    WITH leaving AS (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:jobs AS uuid[])) t (id, job_id)),
    withdrawn AS (
      UPDATE enrollment e SET withdrawn_at = now(), next_reminder_at = NULL FROM leaving
      WHERE e.id = leaving.id AND e.progress = 'not_started' AND e.withdrawn_at IS NULL AND e.detached_at IS NULL
      RETURNING e.id, e.contract_id, leaving.job_id),
    seats AS (
      INSERT INTO seat_movement (contract_id, enrollment_id, change, job_id)
      SELECT contract_id, id, -1, job_id FROM withdrawn)
    UPDATE contract c SET enrolled_count = c.enrolled_count - freed.seats
    FROM (SELECT contract_id, count(*) AS seats FROM withdrawn GROUP BY contract_id) freed
    WHERE c.id = freed.contract_id""")

Stays = Callable[[Session, Mapping[UUID, Any], Mapping[UUID, Any]], Mapping[UUID, WithdrawalVerdict]]
"""Who stays although they have not begun, and why, by enrollment: asked once contracts, accounts (the second) and
enrollments (the first) are held.
"""


@dataclass(frozen=True, slots=True)
class Departure:
    """A way for people to leave a contract.

    Parameters:
      mail: what they are told.
      stays: who does not leave although their seat could come back.
      awaited: whether somebody waits for the mails when they are few.
    """

    mail: EmailKind
    stays: Stays
    awaited: bool


WITHDRAWAL: Final = Departure(EmailKind.WITHDRAWAL, lambda *_: {}, awaited=True)


@dataclass(slots=True)
class HeldContract:
    """A contract whose row this transaction holds; `enrolled_count` moves as requests are decided."""

    id: UUID
    company_id: UUID
    planned_seats: int
    enrolled_count: int


@dataclass(slots=True)
class WithdrawalJob:
    """One claimed job, and what came of its people."""

    row: ClaimedRow
    request: Withdraw | ReleaseSeats
    contract: HeldContract | None = None
    people: Sequence[PersonResult] = ()
    enrolled_count: int = 0

    @property
    def portal_id(self) -> UUID:
        """Whose contract references it speaks of."""
        return cast("UUID", self.row.columns["portal_id"])

    @property
    def notify(self) -> bool:
        """Whether the people are told; a manager may prefer to do so, a release always tells."""
        return not isinstance(self.request, Withdraw) or self.request.notify


class _LeavingPerson(NamedTuple):
    job: WithdrawalJob
    contract: HeldContract
    enrollment_id: UUID
    account_id: UUID


def withdraw_jobs(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed `withdraw` jobs in ledger order; what an earlier one withdrew, a later one finds so.

    The activation link of somebody withdrawn from all they were enrolled on stays as it is. It opens an account and no
    training, only its address has it, and it ends by itself; whereas voided here, it would be missing to the invitation
    another contract may be owing at this very moment, and be a dead end for somebody enrolled again.

    Raises: Transient errors of the database (a row held for over 250 ms, a deadlock): the batch may be done again.
    """
    return [outcome(job) for job in leave(session, rows, WITHDRAWAL)]


def leave(session: Session, rows: Sequence[ClaimedRow], departure: Departure) -> list[WithdrawalJob]:
    """Lets the people of these jobs leave, in ledger order, whoever may by the rule of their departure."""
    jobs = depart(session, rows, departure)
    record_people(session, [(job.row.id, job.people) for job in jobs])
    record_all(session, [_change(job) for job in jobs if any(one.code is Code.WITHDRAWN for one in job.people)])
    return jobs


def depart(session: Session, rows: Sequence[ClaimedRow], departure: Departure) -> list[WithdrawalJob]:
    """The same, but for the results per person and the audit trail: those of a job done in parts are its own."""
    parsed = [parse(row.columns["kind"], row.columns["request"], internal=True) for row in rows]
    jobs = [
        WithdrawalJob(row, cast("Withdraw | ReleaseSeats", request)) for row, request in zip(rows, parsed, strict=True)
    ]
    wait_briefly_for_locks(session)
    _lock_contracts(session, jobs)
    ids = {
        "ids": sorted({one for job in jobs for one in job.request.enrollment_ids}),
        "contracts": list({job.contract.id for job in jobs if job.contract}),
    }
    told = any(job.notify for job in jobs)
    accounts = {row.id: row for row in session.execute(LOCK_ACCOUNTS, ids)} if told else {}
    found = {row.id: row for row in session.execute(LOCK_ENROLLMENTS, ids)}
    leaving = _decide(jobs, found, departure.stays(session, found, accounts))
    _write(session, leaving, accounts, departure)
    return jobs


def _lock_contracts(session: Session, jobs: Sequence[WithdrawalJob]) -> None:
    asked = {"portals": [job.portal_id for job in jobs], "references": [job.request.contract for job in jobs]}
    locked = {
        (row.portal_id, row.reference): HeldContract(row.id, row.company_id, row.planned_seats, row.enrolled_count)
        for row in session.execute(LOCK_CONTRACTS, asked)
    }
    for job in jobs:
        job.contract = locked.get((job.portal_id, job.request.contract))


def _decide(
    jobs: Sequence[WithdrawalJob], found: dict[UUID, Any], stays: Mapping[UUID, WithdrawalVerdict]
) -> list[_LeavingPerson]:
    """Gives every job its results, and returns who leaves."""
    standings: dict[UUID, dict[UUID, WithdrawalCandidate]] = {}
    for row in found.values():
        standing = WithdrawalCandidate(
            Progress(row.progress), row.since, row.withdrawn_at, row.detached_at, stays.get(row.id)
        )
        standings.setdefault(row.contract_id, {})[row.id] = standing
    now: datetime | None = next((row.now for row in found.values()), None)
    leaving = []
    for job in jobs:
        asked = job.request.enrollment_ids
        if job.contract is None:
            job.people = [PersonResult(i, Code.UNKNOWN_CONTRACT, "contract", None, None) for i in range(len(asked))]
            continue
        mine = standings.get(job.contract.id, {})
        decisions = decide_withdrawals(asked, mine, now) if now else [WithdrawalVerdict(Code.NOT_FOUND)] * len(asked)
        job.people = [
            PersonResult(position, code, None, found[one].account_id if one in mine else None, one, detail)
            for position, (one, (code, detail)) in enumerate(zip(asked, decisions, strict=True))
        ]
        free = [person.enrollment_id for person in job.people if person.code is Code.WITHDRAWN and person.enrollment_id]
        leaving += [_LeavingPerson(job, job.contract, one, found[one].account_id) for one in free]
        job.contract.enrolled_count -= len(free)
        job.enrolled_count = job.contract.enrolled_count
    return leaving


def _write(
    session: Session, leaving: Sequence[_LeavingPerson], accounts: dict[UUID, Any], departure: Departure
) -> None:
    if not leaving:
        return
    ids = [one.enrollment_id for one in leaving]
    session.execute(WITHDRAW_ENROLLMENTS, {"ids": ids, "jobs": [one.job.row.id for one in leaving]})
    cancel_mails_of_enrollments(session, [(one.account_id, one.enrollment_id) for one in leaving])
    _owe_mails(session, [one for one in leaving if one.job.notify], accounts, departure)


def _owe_mails(
    session: Session, told: Sequence[_LeavingPerson], accounts: dict[UUID, Any], departure: Departure
) -> None:
    most = URGENT_MAILS if departure.awaited else 0
    owe(
        session,
        [
            OwedMail(
                departure.mail,
                str(one.enrollment_id),
                one.contract.company_id,
                accounts[one.account_id].email_norm,
                accounts[one.account_id].locale,
                Queue.EMAILS if len(one.job.request.enrollment_ids) <= most else Queue.EMAILS_BULK,
                job_id=one.job.row.id,
                account_id=one.account_id,
                enrollment_id=one.enrollment_id,
                contract_id=one.contract.id,
            )
            for one in told
        ],
    )


def _change(job: WithdrawalJob) -> AuditChange:
    contract, alone = job.contract, job.people[0] if len(job.people) == 1 else None
    contract_id = contract.id if contract else None
    return AuditChange(
        job.request.kind,
        portal_id=job.portal_id,
        requested_by=job.request.requested_by,
        company_id=contract.company_id if contract else None,
        account_id=alone.account_id if alone else None,
        subject_id=alone.enrollment_id if alone else contract_id,
        job_id=job.row.id,
        detail={"counts": Counter(one.code for one in job.people)},
    )


def outcome(job: WithdrawalJob) -> WorkOutcome:
    """How a job ended: the counts, and the contract's seats as it left them."""
    counts = Counter(person.code for person in job.people)
    result: dict[str, Any] = {"counts": counts, "seats": counts[Code.WITHDRAWN]}
    if job.contract is None:
        result["code"] = Code.UNKNOWN_CONTRACT
    else:
        result |= {
            "planned_seats": job.contract.planned_seats,
            "enrolled_count": job.enrolled_count,
            "remaining": job.contract.planned_seats - job.enrolled_count,
        }
    done = any(counts[code] for code in WITHDRAWN_CODES)
    state = JobState.SUCCEEDED if done else JobState.REFUSED
    return WorkOutcome(job.row.id, job.row.claim, state, result | one_or_none(job.people))
