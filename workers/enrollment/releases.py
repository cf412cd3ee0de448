"""Seats of accounts never activated: the seats that go, by the same steps as a withdrawal, and who is told of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.release import SeatHolder, keeps_seat
from models.withdrawal import WithdrawalVerdict
from models.words import Code, EmailKind, Progress
from workers.database import Session
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.enrollment.withdrawal import (
    Departure,
    WithdrawalJob,
    leave,
    outcome,
)
from workers.outbox.mails import OwedMail, owe

# Their rows are held: what is read here stays so.
READ_OPTIONS = text("""
    SELECT id, release_after_days, now() AS now,
      coalesce(ends_on < CAST(now() AT TIME ZONE 'Europe/Paris' AS date), false) AS over
    FROM contract WHERE id = ANY(CAST(:contracts AS uuid[]))""")

READ_MANAGERS = text("""
    SELECT id, company_id, manager_email, manager_locale FROM contract
    WHERE id = ANY(CAST(:contracts AS uuid[])) AND manager_email IS NOT NULL""")


def release_seats(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed `release_seats` jobs. What was so when they were owed is looked at again under the locks.

    Raises: Transient errors of the database (a row held for over 250 ms, a deadlock): the batch may be done again.
    """
    jobs = leave(session, rows, RELEASE)
    _owe_reports(session, [job for job in jobs if any(one.code is Code.WITHDRAWN for one in job.people)])
    return [outcome(job) for job in jobs]


def _stays(
    session: Session, enrollments: Mapping[UUID, Any], accounts: Mapping[UUID, Any]
) -> dict[UUID, WithdrawalVerdict]:
    contracts = list({row.contract_id for row in enrollments.values()})
    options = {row.id: row for row in session.execute(READ_OPTIONS, {"contracts": contracts})}
    found = {}
    for row in enrollments.values():
        account, option = accounts.get(row.account_id), options[row.contract_id]
        if account is None or row.progress != Progress.NOT_STARTED or row.withdrawn_at is not None:
            continue  # a withdrawal knows its answer
        holder = SeatHolder(row.enrolled_at, row.release_warned_at, account.activated_at, row.detached_at is not None)
        code = keeps_seat(holder, option.release_after_days, option.now, over=option.over)
        if code is not None:
            since = account.activated_at.isoformat() if code is Code.ALREADY_ACTIVATED else None
            found[row.id] = WithdrawalVerdict(code, {"since": since} if since else None)
    return found


RELEASE: Final = Departure(EmailKind.RELEASE, _stays, awaited=False)


def _owe_reports(session: Session, jobs: Sequence[WithdrawalJob]) -> None:
    """One report per job, to the manager of its contract if one is known."""
    contracts = list({job.contract.id for job in jobs if job.contract})
    if not contracts:
        return
    managers = {row.id: row for row in session.execute(READ_MANAGERS, {"contracts": contracts})}
    reports = []
    for job in jobs:
        manager = managers.get(job.contract.id) if job.contract else None
        if manager is not None:
            reports.append(report_to(manager, str(job.row.id), {"released_by": str(job.row.id)}, job.row.id))
    owe(session, reports)


def report_to(manager: Any, key: str, context: dict[str, str], job_id: UUID) -> OwedMail:
    """The report a manager is owed; its letter finds the people by the context."""
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
