"""The daily look at seats never used: warns who is to lose theirs, owes the release of who was warned in time.

Lock order: job rows, contract, accounts by address, enrollments by id. The contract is shared with nobody who changes
it, so that nobody is warned under an option that is no longer so.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.mails import INVITING, quoted
from models.paris import is_daytime
from models.release import WARNED_BEFORE, ReleaseStep, release_step
from models.words import EmailKind, JobState
from workers.audit import record
from workers.database import Session, array, wait_briefly_for_locks
from workers.engine.acceptance import OwedJob, owe_jobs, owe_successor, successor_key
from workers.enrollment.releases import report_to
from workers.outbox.mails import OwedMail, owe
from workers.requests.base import MAX_ENROLLMENTS
from workers.requests.internal import PlanReleases, ReleaseSeats

PART: Final = 1_000
"""People warned in one transaction: it holds their contract."""

MOST_RELEASED: Final = 10 * MAX_ENROLLMENTS
"""Seats of one contract given back in one day; more wait for the next."""

_OPEN: Final = """c.release_after_days IS NOT NULL
    AND coalesce(c.ends_on >= CAST(now() AT TIME ZONE 'Europe/Paris' AS date), true)"""

# The rule of ``models/release.py`` is asked again for each row that is held; this only leaves out for whom nothing is
# due. Whoever was enrolled without a mail, or has no link, could not activate, so nobody warns or releases them.
_UNUSED: Final = """n.withdrawn_at IS NULL AND n.detached_at IS NULL AND n.progress = 'not_started'
    AND a.activated_at IS NULL AND a.erased_at IS NULL"""

_TO_WARN: Final = f"""n.release_warned_at IS NULL
    AND n.enrolled_at <= now() + :warned_before - make_interval(days => c.release_after_days)
    AND EXISTS (
      SELECT 1 FROM email e WHERE e.account_id = n.account_id AND e.enrollment_id = n.id
        AND e.kind IN ({quoted(INVITING)}) AND e.state IN ('sent', 'uncertain', 'failed', 'suppressed'))
    AND EXISTS (
      SELECT 1 FROM link l WHERE l.account_id = n.account_id AND l.purpose = 'activation' AND l.consumed_at IS NULL
        AND l.voided_at IS NULL AND l.subject_id IS NULL)"""

# A warning that waits, or left late, puts the release off; without one that left there is none, whatever the reason.
_TO_RELEASE: Final = """n.release_warned_at <= now() - :warned_before
    AND n.enrolled_at <= now() - make_interval(days => c.release_after_days)
    AND EXISTS (
      SELECT 1 FROM email e WHERE e.account_id = n.account_id AND e.enrollment_id = n.id AND e.kind = 'release_warning'
        AND e.created_at >= n.release_warned_at AND e.due_at IS NULL AND e.finished_at <= now() - :warned_before
        AND e.state IN ('sent', 'uncertain', 'failed', 'suppressed'))"""

FIND_CONTRACTS = text(f"""
    SELECT c.id FROM contract c WHERE {_OPEN} AND EXISTS (
      SELECT 1 FROM enrollment n JOIN account a ON a.id = n.account_id
      WHERE n.contract_id = c.id AND {_UNUSED} AND (({_TO_WARN}) OR ({_TO_RELEASE})))
    ORDER BY c.id""")

LOCK_CONTRACT = text(f"""
    SELECT c.id, c.portal_id, c.reference, c.company_id, c.release_after_days, c.manager_email, c.manager_locale,
      CAST(now() AT TIME ZONE 'Europe/Paris' AS date) AS today
    FROM contract c WHERE c.id = :contract AND {_OPEN} FOR SHARE""")

FIND_TO_WARN = text(f"""
    SELECT n.id, n.account_id FROM contract c
    JOIN enrollment n ON n.contract_id = c.id JOIN account a ON a.id = n.account_id
    WHERE c.id = :contract AND {_UNUSED} AND {_TO_WARN} ORDER BY n.id LIMIT :most""")

LOCK_ACCOUNTS = text("""
    SELECT id, email_norm, locale FROM account
    WHERE id = ANY(CAST(:accounts AS uuid[])) AND activated_at IS NULL AND erased_at IS NULL
    ORDER BY email_norm FOR KEY SHARE""")

LOCK_ENROLLMENTS = text("""
    SELECT id, account_id, enrolled_at, release_warned_at, now() AS now FROM enrollment
    WHERE id = ANY(CAST(:ids AS uuid[])) AND withdrawn_at IS NULL AND detached_at IS NULL
      AND progress = 'not_started'
    ORDER BY id FOR NO KEY UPDATE""")

MARK_WARNED = text("UPDATE enrollment SET release_warned_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))")

CHECK_WARNED = text("""
    SELECT EXISTS (SELECT 1 FROM enrollment
      WHERE contract_id = :contract AND withdrawn_at IS NULL AND release_warned_at >= :since)""")

FIND_TO_RELEASE = text(f"""
    SELECT n.id FROM contract c
    JOIN enrollment n ON n.contract_id = c.id JOIN account a ON a.id = n.account_id
    WHERE c.id = :contract AND {_UNUSED} AND {_TO_RELEASE} ORDER BY n.id LIMIT :most""")

READ_NOW = text("SELECT now()")


def plan_releases(
    session: Session, _portal: UUID, job_id: UUID, request: PlanReleases
) -> tuple[JobState, dict[str, Any]]:
    """Does one contract's part of the plan, or owes a job for each contract where there is something to do.

    Raises: a transient error of the database when a row is held for over 250 ms.
    """
    if request.contract_id is None or request.since is None:
        return JobState.SUCCEEDED, {"contracts": _owe_plans(session, job_id, request)}
    wait_briefly_for_locks(session)
    contract = session.execute(LOCK_CONTRACT, {"contract": request.contract_id}).one_or_none()
    if contract is None:  # switched off, or over, since it was found
        return JobState.SUCCEEDED, {"warned": 0, "released": 0, "more": False}
    looked_at, warned = _warn(session, job_id, contract)
    more = looked_at > PART
    if more:
        owe_successor(session, job_id, request)
    owed = 0 if more else _finish(session, job_id, contract, request.since)
    if warned or owed:
        counts = {"warned": warned, "to_release": owed}
        record(session, request.kind, company_id=contract.company_id, subject_id=contract.id, job_id=job_id,
               portal_id=contract.portal_id, detail=counts)  # fmt: skip
    return JobState.SUCCEEDED, {"warned": warned, "to_release": owed, "more": more}


def _owe_plans(session: Session, job_id: UUID, request: PlanReleases) -> int:
    """None at night: what is found the next day is as good, and nobody is written to meanwhile."""
    now: datetime = session.execute(READ_NOW).scalar_one()
    if request.daytime and not is_daytime(now):
        return 0
    contracts = session.execute(FIND_CONTRACTS, {"warned_before": WARNED_BEFORE}).scalars().all()
    plans = [PlanReleases(contract_id=contract, since=now) for contract in contracts]
    owe_jobs(session, [OwedJob(plan, successor_key(job_id, plan.contract_id)) for plan in plans])
    return len(plans)


def _warn(session: Session, job_id: UUID, contract: Any) -> tuple[int, int]:
    """Warns one part of those to be warned; how many were found (one over the part when there are more), and warned."""
    asked = {"contract": contract.id, "warned_before": WARNED_BEFORE, "most": PART + 1}
    found = session.execute(FIND_TO_WARN, asked).all()
    part = found[:PART]
    held = session.execute(LOCK_ACCOUNTS, {"accounts": array({row.account_id for row in part})})
    accounts = {row.id: row for row in held}
    locked = session.execute(LOCK_ENROLLMENTS, {"ids": array(row.id for row in part)}).all()
    warned = [row for row in locked if row.account_id in accounts and _still_due(row, contract)]
    owe(session, [_warning(row, contract, accounts, job_id) for row in warned])
    session.execute(MARK_WARNED, {"ids": array(row.id for row in warned)})
    return len(found), len(warned)


def _still_due(row: Any, contract: Any) -> bool:
    step = release_step(row.enrolled_at, row.release_warned_at, contract.release_after_days, row.now)
    return step is ReleaseStep.WARN


def _warning(row: Any, contract: Any, accounts: Mapping[UUID, Any], job_id: UUID) -> OwedMail:
    account = accounts[row.account_id]
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


def _finish(session: Session, job_id: UUID, contract: Any, since: datetime) -> int:
    """When nobody is left to warn: the manager's report of all of them, and the jobs that give seats back."""
    asked = {"contract": contract.id, "since": since}
    if contract.manager_email and session.execute(CHECK_WARNED, asked).scalar_one():
        moment = since.isoformat()
        owe(session, [report_to(contract, f"{contract.id}:{moment}", {"warned_since": moment}, job_id)])
    return _owe_releases(session, contract)


def _owe_releases(session: Session, contract: Any) -> int:
    """In the contract's own portal, so that they wait their turn among its other requests."""
    asked = {"contract": contract.id, "warned_before": WARNED_BEFORE, "most": MOST_RELEASED}
    ids = session.execute(FIND_TO_RELEASE, asked).scalars().all()
    jobs = []
    for number, start in enumerate(range(0, len(ids), MAX_ENROLLMENTS), start=1):
        request = ReleaseSeats(contract=contract.reference, enrollment_ids=list(ids[start : start + MAX_ENROLLMENTS]))
        key = f"release:{contract.id}:{contract.today.isoformat()}:{number}"
        jobs.append(OwedJob(request, key, contract.portal_id))
    owe_jobs(session, jobs)  # a key used before on the same day stands for what is being done already
    return len(ids)
