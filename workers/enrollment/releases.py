"""Seats of accounts never activated: the daily plan warns people, and a later one gives their seats back.

The plan locks job rows, then the contract, accounts by address, enrollments by id. It shares the contract's row with
transactions that only read it, so that no person is warned under an option that was changed. A release locks as a
withdrawal does.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.account import NEVER_ACTIVATED
from models.contract import OVER
from models.email import INVITING
from models.enrollment import LIVE, PARTICIPATING
from models.paris import TODAY_IN_PARIS, is_daytime
from models.release import (
    WARNED_AGAIN,
    WARNED_BEFORE,
    ReleaseStep,
    SeatHolder,
    keeps_seat,
    release_step,
)
from models.withdrawal import WithdrawalVerdict
from models.words import Code, EmailKind, JobState, Progress
from workers.audit import record
from workers.database import Session, array, wait_briefly_for_locks
from workers.engine.acceptance import OwedJob, owe_jobs, owe_successor, successor_key
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.enrollment.withdrawal import (
    HeldAccount,
    HeldEnrollment,
    WithdrawalJob,
    WithdrawalReason,
    outcome,
    withdraw_and_record,
)
from workers.outbox.mails import OwedMail, owe
from workers.requests.base import MAX_ENROLLMENTS
from workers.requests.internal import PlanReleases, ReleaseSeats
from workers.security.links import LIVE as LIVE_LINK
from workers.sql import fetch, fetch_one, fetch_value, fetch_values

PART: Final = 1_000
"""People warned in one transaction: it holds their contract."""

MOST_RELEASED: Final = 10 * MAX_ENROLLMENTS
"""Seats of one contract given back in one day; more wait for the next."""

_OPEN: Final = f"c.release_after_days IS NOT NULL AND NOT {OVER}"

# The rule of ``models/release.py`` is asked again for each row that is held; these conditions only leave out the people
# for whom nothing is due. A person who was enrolled without a mail, or has no link, could not activate the account, and
# is neither warned nor released.
_UNUSED: Final = f"{PARTICIPATING} AND e.progress = 'not_started' AND {NEVER_ACTIVATED}"

_ENDED: Final = "m.state IN ('sent', 'uncertain', 'failed', 'suppressed', 'bounced', 'complained')"

# A warning counts once it was sent. One that ended otherwise (refused, lost, suppressed, expired), or came back, is
# repeated later.
_UNHEARD: Final = """(e.release_warned_at <= now() - :warned_again AND NOT EXISTS (
      SELECT 1 FROM email m WHERE m.account_id = e.account_id AND m.enrollment_id = e.id AND m.kind = 'release_warning'
        AND m.created_at >= e.release_warned_at
        AND (m.state IN ('sent', 'complained') OR m.due_at IS NOT NULL OR m.leased_until IS NOT NULL)))"""

_TO_WARN: Final = f"""(e.release_warned_at IS NULL OR {_UNHEARD})
    AND e.enrolled_at <= now() + :warned_before - make_interval(days => c.release_after_days)
    AND EXISTS (
      SELECT 1 FROM email m WHERE m.account_id = e.account_id AND m.enrollment_id = e.id AND {INVITING} AND {_ENDED})
    AND EXISTS (
      SELECT 1 FROM link l WHERE l.account_id = e.account_id AND l.purpose = 'activation' AND {LIVE_LINK}
        AND l.subject_id IS NULL)"""

# A warning that waits, or left late, puts the release off; no seat is released without a warning that was sent.
_TO_RELEASE: Final = """e.release_warned_at <= now() - :warned_before
    AND e.enrolled_at <= now() - make_interval(days => c.release_after_days)
    AND EXISTS (
      SELECT 1 FROM email m WHERE m.account_id = e.account_id AND m.enrollment_id = e.id AND m.kind = 'release_warning'
        AND m.created_at >= e.release_warned_at AND m.state IN ('sent', 'complained')
        AND m.finished_at <= now() - :warned_before)"""

_DELAYS: Final = {"warned_before": WARNED_BEFORE, "warned_again": WARNED_AGAIN}

# The contracts for which the daily plan has something to do.
LIST_CONTRACTS_TO_PLAN = text(f"""
    SELECT c.id FROM contract c WHERE {_OPEN} AND EXISTS (
      SELECT 1 FROM enrollment e JOIN account a ON a.id = e.account_id
      WHERE e.contract_id = c.id AND {_UNUSED} AND (({_TO_WARN}) OR ({_TO_RELEASE})))
    ORDER BY c.id""")

# FOR SHARE: no request changes the contract, its options or its seats, while people are warned.
LOCK_CONTRACT = text(f"""
    SELECT c.id, c.portal_id, c.reference, c.company_id, c.release_after_days, c.manager_email, c.manager_locale,
      {TODAY_IN_PARIS} AS today
    FROM contract c WHERE c.id = :contract AND {_OPEN} FOR SHARE""")

# Read without a lock: each person is looked at again once account and enrollment are held.
LIST_PEOPLE_TO_WARN = text(f"""
    SELECT e.id, e.account_id FROM contract c
    JOIN enrollment e ON e.contract_id = c.id JOIN account a ON a.id = e.account_id
    WHERE c.id = :contract AND {_UNUSED} AND {_TO_WARN} ORDER BY e.id LIMIT :most""")

# An account that was activated or erased since is left out.
LOCK_ACCOUNTS = text(f"""
    SELECT a.id, a.email_norm, a.locale FROM account a
    WHERE a.id = ANY(CAST(:accounts AS uuid[])) AND {NEVER_ACTIVATED}
    ORDER BY a.email_norm FOR KEY SHARE""")

# An enrollment that was begun or left since is left out.
LOCK_ENROLLMENTS = text(f"""
    SELECT e.id, e.account_id, e.enrolled_at,
      CASE WHEN NOT {_UNHEARD} THEN e.release_warned_at END AS warned_at, now() AS now
    FROM enrollment e
    WHERE e.id = ANY(CAST(:ids AS uuid[])) AND {PARTICIPATING} AND e.progress = 'not_started'
    ORDER BY e.id FOR NO KEY UPDATE""")

# From now on the seat may be given back a week after its warning left.
MARK_WARNED = text("UPDATE enrollment SET release_warned_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))")

# Whether the manager has people to be told of: some were warned since the plan began.
CHECK_WARNED = text(f"""
    SELECT EXISTS (SELECT 1 FROM enrollment e
      WHERE e.contract_id = :contract AND {LIVE} AND e.release_warned_at >= :since)""")

# Read without a lock: the release judges each seat again.
LIST_SEATS_TO_RELEASE = text(f"""
    SELECT e.id FROM contract c
    JOIN enrollment e ON e.contract_id = c.id JOIN account a ON a.id = e.account_id
    WHERE c.id = :contract AND {_UNUSED} AND {_TO_RELEASE} ORDER BY e.id LIMIT :most""")

# The rows of these contracts are held: their options stay as they are read here.
READ_OPTIONS = text(f"""
    SELECT c.id, c.release_after_days, now() AS now, {OVER} AS over
    FROM contract c WHERE c.id = ANY(CAST(:contracts AS uuid[]))""")

# The managers of contracts for which the portal named an address to write to.
READ_MANAGERS = text("""
    SELECT c.id, c.company_id, c.manager_email, c.manager_locale FROM contract c
    WHERE c.id = ANY(CAST(:contracts AS uuid[])) AND c.manager_email IS NOT NULL""")

# The time by the clock of the database, which dates everything.
READ_NOW = text("SELECT now()")


class PlannedContract(NamedTuple):
    """A contract that gives unused seats back, its row shared with transactions that only read it."""

    id: UUID
    portal_id: UUID
    reference: str
    company_id: UUID
    release_after_days: int
    manager_email: str | None
    manager_locale: str
    today: date


class ContractManager(NamedTuple):
    """The manager who is written to about a contract, by the contract's id."""

    id: UUID
    company_id: UUID
    manager_email: str
    manager_locale: str


class _DueWarning(NamedTuple):
    id: UUID
    account_id: UUID


class _WarnedAccount(NamedTuple):
    id: UUID
    email_norm: str
    locale: str


class _WarnedEnrollment(NamedTuple):
    id: UUID
    account_id: UUID
    enrolled_at: datetime
    warned_at: datetime | None
    now: datetime


class _ReleaseOption(NamedTuple):
    id: UUID
    release_after_days: int | None
    now: datetime
    over: bool


class _WarnedPart(NamedTuple):
    """The people warned in one transaction; `more`: others are still to be warned."""

    warned: int
    more: bool


def plan_releases(
    session: Session, _portal: UUID, job_id: UUID, request: PlanReleases
) -> tuple[JobState, dict[str, Any]]:
    """Does one contract's part of the plan, or owes a job for each contract where there is something to do.

    Raises: a transient error of the database when a row is held for over 250 ms.
    """
    if request.contract_id is None or request.since is None:
        return JobState.SUCCEEDED, {"contracts": _owe_plans(session, job_id, request)}
    wait_briefly_for_locks(session)
    contract = fetch_one(session, PlannedContract, LOCK_CONTRACT, {"contract": request.contract_id})
    if contract is None:  # switched off, or over, since it was found
        return JobState.SUCCEEDED, {"warned": 0, "released": 0, "more": False}
    warned, more = _warn(session, job_id, contract)
    if more:
        owe_successor(session, job_id, request)
    owed = 0 if more else _finish(session, job_id, contract, request.since)
    if warned or owed:
        counts = {"warned": warned, "to_release": owed}
        record(session, request.kind, company_id=contract.company_id, subject_id=contract.id, job_id=job_id,
               portal_id=contract.portal_id, detail=counts)  # fmt: skip
    return JobState.SUCCEEDED, {"warned": warned, "to_release": owed, "more": more}


def _owe_plans(session: Session, job_id: UUID, request: PlanReleases) -> int:
    """Owes a plan for each contract and returns how many.

    At night it owes none: the plan of the next day finds the same, and people are written to by day.
    """
    [now] = fetch_values(session, datetime, READ_NOW)
    if request.daytime and not is_daytime(now):
        return 0
    contracts = fetch_values(session, UUID, LIST_CONTRACTS_TO_PLAN, _DELAYS)
    plans = [PlanReleases(contract_id=contract, since=now) for contract in contracts]
    owe_jobs(session, [OwedJob(plan, successor_key(job_id, plan.contract_id)) for plan in plans])
    return len(plans)


def _warn(session: Session, job_id: UUID, contract: PlannedContract) -> _WarnedPart:
    """Warns one part of the people who are to lose their seats."""
    asked = {"contract": contract.id, **_DELAYS, "most": PART + 1}
    found = fetch(session, _DueWarning, LIST_PEOPLE_TO_WARN, asked)
    part = found[:PART]
    held = {"accounts": array({row.account_id for row in part})}
    accounts = {row.id: row for row in fetch(session, _WarnedAccount, LOCK_ACCOUNTS, held)}
    locked = fetch(session, _WarnedEnrollment, LOCK_ENROLLMENTS, {"ids": array(row.id for row in part), **_DELAYS})
    warned = [row for row in locked if row.account_id in accounts and _still_due(row, contract)]
    owe(session, [_warning(row, contract, accounts[row.account_id], job_id) for row in warned])
    session.execute(MARK_WARNED, {"ids": array(row.id for row in warned)})
    return _WarnedPart(len(warned), len(found) > PART)


def _still_due(row: _WarnedEnrollment, contract: PlannedContract) -> bool:
    step = release_step(row.enrolled_at, row.warned_at, contract.release_after_days, row.now)
    return step is ReleaseStep.WARN


def _warning(row: _WarnedEnrollment, contract: PlannedContract, account: _WarnedAccount, job_id: UUID) -> OwedMail:
    return OwedMail(
        EmailKind.RELEASE_WARNING,
        f"{job_id}:{row.id}",  # of two jobs the second finds the person warned
        contract.company_id,
        account.email_norm,
        account.locale,
        job_id=job_id,
        account_id=account.id,
        enrollment_id=row.id,
        contract_id=contract.id,
    )


def _finish(session: Session, job_id: UUID, contract: PlannedContract, since: datetime) -> int:
    """Owes the manager's report of the people warned, and the jobs that give seats back; returns the seats they give.

    Parameters:
      since: when the plan began; people warned from then on are in the report.
    """
    asked = {"contract": contract.id, "since": since}
    if contract.manager_email and fetch_value(session, bool, CHECK_WARNED, asked):
        moment = since.isoformat()
        manager = ContractManager(contract.id, contract.company_id, contract.manager_email, contract.manager_locale)
        owe(session, [report_to(manager, f"{contract.id}:{moment}", {"warned_since": moment}, job_id)])
    return _owe_releases(session, contract)


def _owe_releases(session: Session, contract: PlannedContract) -> int:
    """Owes the releases in the contract's own portal, so that they wait their turn among its other requests."""
    asked = {"contract": contract.id, **_DELAYS, "most": MOST_RELEASED}
    ids = fetch_values(session, UUID, LIST_SEATS_TO_RELEASE, asked)
    jobs = []
    for number, start in enumerate(range(0, len(ids), MAX_ENROLLMENTS), start=1):
        request = ReleaseSeats(contract=contract.reference, enrollment_ids=ids[start : start + MAX_ENROLLMENTS])
        key = f"release:{contract.id}:{contract.today.isoformat()}:{number}"
        jobs.append(OwedJob(request, key, contract.portal_id))
    owe_jobs(session, jobs)  # a key used before on the same day stands for a release that is under way already
    return len(ids)


def release_seats(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed `release_seats` jobs; each seat is judged again under the locks.

    Raises: Transient errors of the database (a row held for over 250 ms, a deadlock): the batch may be done again.
    """
    jobs = withdraw_and_record(session, rows, RELEASE)
    _owe_reports(session, [job for job in jobs if job.withdrawn])
    return [outcome(job) for job in jobs]


def _find_staying(
    session: Session, enrollments: Mapping[UUID, HeldEnrollment], accounts: Mapping[UUID, HeldAccount]
) -> dict[UUID, WithdrawalVerdict]:
    """Returns the people who keep a seat that was to be given back, and why."""
    contracts = {"contracts": array({row.contract_id for row in enrollments.values()})}
    options = {row.id: row for row in fetch(session, _ReleaseOption, READ_OPTIONS, contracts)}
    found = {}
    for row in enrollments.values():
        account = accounts.get(row.account_id)
        if account is None or row.progress != Progress.NOT_STARTED or row.withdrawn_at is not None:
            continue  # a withdrawal knows its answer
        verdict = _stays(row, account, options[row.contract_id])
        if verdict is not None:
            found[row.id] = verdict
    return found


def _stays(row: HeldEnrollment, account: HeldAccount, option: _ReleaseOption) -> WithdrawalVerdict | None:
    holder = SeatHolder(row.enrolled_at, row.release_warned_at, account.activated_at, row.detached_at is not None)
    code = keeps_seat(holder, option.release_after_days, option.now, over=option.over)
    if code is None:
        return None
    activated_at = account.activated_at if code is Code.ALREADY_ACTIVATED else None
    return WithdrawalVerdict(code, {"since": activated_at.isoformat()} if activated_at else None)


RELEASE: Final = WithdrawalReason(EmailKind.RELEASE, _find_staying, awaited=False)


def _owe_reports(session: Session, jobs: Sequence[WithdrawalJob]) -> None:
    """Owes one report per job to the manager of its contract, if one is known."""
    contracts = {job.contract.id for job in jobs if job.contract}
    if not contracts:
        return
    found = fetch(session, ContractManager, READ_MANAGERS, {"contracts": array(contracts)})
    managers = {manager.id: manager for manager in found}
    told = [(job, managers.get(job.contract.id)) for job in jobs if job.contract]
    owe(
        session,
        [
            report_to(manager, str(job.id), {"released_by": str(job.id)}, job.id)
            for job, manager in told
            if manager is not None
        ],
    )


def report_to(manager: ContractManager, key: str, context: dict[str, str], job_id: UUID) -> OwedMail:
    """Returns the report that a manager is owed; its letter finds the people by the context."""
    return OwedMail(
        EmailKind.RELEASE_REPORT,
        key,
        manager.company_id,
        manager.manager_email,
        manager.manager_locale,
        job_id=job_id,
        contract_id=manager.id,
        context=context,
    )
