"""Reminders of invitations that were not followed: those that are due are sent, those that had stopped are resumed.

Lock order: job rows, accounts by address, enrollments by id. A person who activates at this moment holds the account's
whole row. Either the activation comes first, and nothing is due any more, or it waits, and the mail is dropped when it
is about to be sent. A caller that resumes reminders holds the contract, or the accounts.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.account import NEVER_ACTIVATED
from models.contract import OVER
from models.email import INVITING
from models.enrollment import PARTICIPATING, Enrollment
from models.paris import is_daytime
from models.reminder import (
    REMINDED_TOGETHER,
    REMINDER_GAP,
    REMINDER_STEPS,
    RemindedEnrollment,
    ReminderDecision,
    decide_reminder,
)
from models.words import EmailKind, EmailState, JobState
from workers.database import Session, array, wait_briefly_for_locks
from workers.engine.acceptance import owe_successor
from workers.outbox.mails import OwedMail, owe
from workers.requests.internal import SendReminders
from workers.sql import Unnest, fetch, fetch_values

PART: Final = 1_000
"""Enrollments looked at in one transaction."""


class _DueAccount(NamedTuple):
    """An account that keeps its address until this transaction ends; an erased one counts as activated."""

    id: UUID
    email_norm: str
    locale: str
    activated: bool


class _DueEnrollment(NamedTuple):
    """An enrollment with a reminder due, its row locked, and the latest mail that invited the person to it."""

    id: UUID
    account_id: UUID
    contract_id: UUID
    enrolled_at: datetime
    reminders: int
    has_left: bool
    company_id: UUID
    wanted: bool
    over: bool
    invitation_id: UUID | None
    invitation: str | None
    owed: bool
    told_at: datetime | None
    now: datetime


class _MovedReminder(NamedTuple):
    id: UUID
    reminders: int
    next_reminder_at: datetime | None


_MOVED: Final = Unnest(_MovedReminder, Enrollment, alias="given")

# The time by the clock of the database, which dates everything.
READ_NOW = text("SELECT now()")

# The longest due come first; an account with several enrollments due is there several times.
LIST_DUE_ACCOUNTS = text("""
    SELECT e.account_id FROM enrollment e WHERE e.next_reminder_at <= now() ORDER BY e.next_reminder_at LIMIT :most""")

# The address of each account stays as it is until the mail is owed.
LOCK_ACCOUNTS = text("""
    SELECT a.id, a.email_norm, a.locale, a.activated_at IS NOT NULL OR a.erased_at IS NOT NULL AS activated
    FROM account a WHERE a.id = ANY(CAST(:accounts AS uuid[])) ORDER BY a.email_norm FOR KEY SHARE""")

# Reminders that fall due soon for the same people are locked too: one mail serves for all of them.
LOCK_ENROLLMENTS = text(f"""
    SELECT e.id, e.account_id, e.contract_id, e.enrolled_at, e.reminders, NOT ({PARTICIPATING}) AS has_left,
      c.company_id, c.reminders AS wanted, {OVER} AS over, told.id AS invitation_id, told.state AS invitation,
      told.due_at IS NOT NULL AS owed, told.finished_at AS told_at, now() AS now
    FROM enrollment e JOIN contract c ON c.id = e.contract_id
    LEFT JOIN LATERAL (
      SELECT m.id, m.state, m.due_at, m.finished_at FROM email m
      WHERE m.account_id = e.account_id AND m.enrollment_id = e.id AND {INVITING}
      ORDER BY m.id DESC LIMIT 1) told ON true
    WHERE e.account_id = ANY(CAST(:accounts AS uuid[])) AND e.next_reminder_at <= now() + :together
    ORDER BY e.id FOR NO KEY UPDATE OF e""")

# The number of reminders sent, and when the next is due (NULL: never).
MOVE_REMINDERS = text(f"""
    UPDATE enrollment e SET reminders = given.reminders, next_reminder_at = given.next_reminder_at
    FROM {_MOVED} WHERE e.id = given.id""")

# A person enrolled without a mail has no invitation to be reminded of. A person who activates at this moment may be
# given a date: it is looked at again before anything is sent.
_RESUME: Final = f"""
    UPDATE enrollment SET next_reminder_at = greatest(
      now() + :least, enrollment.enrolled_at + (CAST(:steps AS interval[]))[enrollment.reminders + 1])
    FROM (
      SELECT e.id FROM enrollment e JOIN account a ON a.id = e.account_id
      WHERE {{which}} AND e.next_reminder_at IS NULL AND e.reminders < cardinality(CAST(:steps AS interval[]))
        AND {PARTICIPATING} AND {NEVER_ACTIVATED}
        AND EXISTS (
          SELECT 1 FROM email m WHERE m.account_id = e.account_id AND m.enrollment_id = e.id AND {INVITING})
      ORDER BY e.id FOR NO KEY UPDATE OF e) stopped
    WHERE enrollment.id = stopped.id"""

# The contract wants reminders again, or is prolonged.
RESUME_REMINDERS_OF_CONTRACT = text(_RESUME.format(which="e.contract_id = :contract"))
# The invitation was sent again.
RESUME_REMINDERS = text(_RESUME.format(which="e.id = ANY(CAST(:enrollments AS uuid[]))"))


class _DecidedReminder(NamedTuple):
    row: _DueEnrollment
    reminder: ReminderDecision


def send_reminders(
    session: Session, _portal: UUID, job_id: UUID, request: SendReminders
) -> tuple[JobState, dict[str, Any]]:
    """Does one part of the reminders that are due, and owes a job for the rest. At night they wait for the morning.

    Raises: a transient error of the database when an account or an enrollment is held for over 250 ms.
    """
    if request.daytime and not is_daytime(_read_now(session)):
        return JobState.SUCCEEDED, {"looked_at": 0, "reminded": 0, "more": False}
    wait_briefly_for_locks(session)
    due = fetch_values(session, UUID, LIST_DUE_ACCOUNTS, {"most": PART + 1})
    locked = fetch(session, _DueAccount, LOCK_ACCOUNTS, {"accounts": array(set(due[:PART]))})
    accounts = {account.id: account for account in locked}
    asked = {"accounts": array(accounts), "together": REMINDED_TOGETHER}
    rows = fetch(session, _DueEnrollment, LOCK_ENROLLMENTS, asked)
    decided = [
        _DecidedReminder(row, decide_reminder(_standing(row, accounts[row.account_id]), row.now)) for row in rows
    ]
    mailed = _one_each(decided)
    _move_on(session, decided)
    owe(session, [_mail(one, accounts[one.row.account_id], job_id) for one in mailed])
    more = len(due) > PART
    if more:
        owe_successor(session, job_id, request)
    return JobState.SUCCEEDED, {"looked_at": len(decided), "reminded": len(mailed), "more": more}


def _read_now(session: Session) -> datetime:
    [now] = fetch_values(session, datetime, READ_NOW)
    return now


def _standing(row: _DueEnrollment, account: _DueAccount) -> RemindedEnrollment:
    return RemindedEnrollment(
        enrolled_at=row.enrolled_at,
        sent=row.reminders,
        activated=account.activated,
        left=row.has_left,
        wanted=row.wanted,
        over=row.over,
        invitation=None if row.invitation is None else EmailState(row.invitation),
        owed=row.owed,
        told_at=row.told_at if row.invitation in (EmailState.SENT, EmailState.UNCERTAIN) else None,
    )


def _one_each(decided: Sequence[_DecidedReminder]) -> list[_DecidedReminder]:
    """Returns one reminder per account, of the training they were enrolled on last; the others only move on."""
    latest: dict[UUID, _DecidedReminder] = {}
    for one in sorted(decided, key=lambda one: (one.row.enrolled_at, one.row.id)):
        if one.reminder.step is not None:
            latest[one.row.account_id] = one
    return list(latest.values())


def _move_on(session: Session, decided: Sequence[_DecidedReminder]) -> None:
    moved = [_MovedReminder(row.id, reminder.step or row.reminders, reminder.next_at) for row, reminder in decided]
    if moved:
        session.execute(MOVE_REMINDERS, _MOVED.parameters(moved))


def _mail(one: _DecidedReminder, account: _DueAccount, job_id: UUID) -> OwedMail:
    row, step = one.row, one.reminder.step
    return OwedMail(
        EmailKind.REMINDER,
        f"{step}:{row.id}:{row.invitation_id}",  # at another address they begin again with the first
        row.company_id,
        account.email_norm,
        account.locale,
        job_id=job_id,
        account_id=row.account_id,
        enrollment_id=row.id,
        contract_id=row.contract_id,
        context={"step": step},
    )


def resume_reminders_of_contract(session: Session, contract_id: UUID) -> None:
    """Resumes the reminders of a contract that wanted none, or was over: people who have not activated get their next.

    The caller holds the contract.
    """
    asked = {"contract": contract_id, "steps": list(REMINDER_STEPS), "least": timedelta()}
    session.execute(RESUME_REMINDERS_OF_CONTRACT, asked)


def resume_reminders(session: Session, enrollments: Collection[UUID]) -> None:
    """Resumes reminders that had stopped because no invitation reached the person; the next is a day away at least.

    The caller holds the accounts and has owed the new invitations.
    """
    if enrollments:
        asked = {"enrollments": array(sorted(set(enrollments)))}
        session.execute(RESUME_REMINDERS, asked | {"steps": list(REMINDER_STEPS), "least": REMINDER_GAP})
