"""Reminders of invitations nobody followed, a part at a time: whoever is left over is the next job's.

Lock order: job rows, accounts by address, enrollments by id. Whoever activates at this moment holds the account's whole
row: they either come first, and nothing is due any more, or wait, and the mail is dropped when it is about to be sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.mails import INVITING, quoted
from models.paris import is_daytime
from models.reminder import REMINDED_TOGETHER, RemindedEnrollment, ReminderDecision, remind
from models.words import EmailKind, EmailState, JobState
from workers.database import Session, array, wait_briefly_for_locks
from workers.engine.acceptance import owe_successor
from workers.outbox.mails import OwedMail, owe
from workers.requests.internal import SendReminders

PART: Final = 1_000
"""Enrollments looked at in one transaction."""

READ_NOW = text("SELECT now()")

FIND_DUE_ACCOUNTS = text(
    "SELECT account_id FROM enrollment WHERE next_reminder_at <= now() ORDER BY next_reminder_at LIMIT :most"
)

LOCK_ACCOUNTS = text("""
    SELECT id, email_norm, locale, activated_at IS NOT NULL OR erased_at IS NOT NULL AS activated FROM account
    WHERE id = ANY(CAST(:accounts AS uuid[])) ORDER BY email_norm FOR KEY SHARE""")

# Also what falls due soon for the same people: one mail for all of it.
LOCK_ENROLLMENTS = text(f"""
    SELECT n.id, n.account_id, n.contract_id, n.enrolled_at, n.reminders,
      n.withdrawn_at IS NOT NULL OR n.detached_at IS NOT NULL AS has_left, c.company_id, c.reminders AS wanted,
      coalesce(c.ends_on < CAST(now() AT TIME ZONE 'Europe/Paris' AS date), false) AS over,
      told.id AS invitation_id, told.state AS invitation, told.due_at IS NOT NULL AS owed,
      told.finished_at AS told_at, now() AS now
    FROM enrollment n JOIN contract c ON c.id = n.contract_id
    LEFT JOIN LATERAL (
      SELECT e.id, e.state, e.due_at, e.finished_at FROM email e
      WHERE e.account_id = n.account_id AND e.enrollment_id = n.id AND e.kind IN ({quoted(INVITING)})
      ORDER BY e.id DESC LIMIT 1) told ON true
    WHERE n.account_id = ANY(CAST(:accounts AS uuid[])) AND n.next_reminder_at <= now() + :together
    ORDER BY n.id FOR NO KEY UPDATE OF n""")

MOVE_REMINDERS = text("""
    UPDATE enrollment n SET reminders = t.reminders, next_reminder_at = t.next_at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:reminders AS int[]), CAST(:next_at AS timestamptz[]))
      t (id, reminders, next_at)
    WHERE n.id = t.id""")


class _DecidedReminder(NamedTuple):
    row: Any
    reminder: ReminderDecision


def send_reminders(
    session: Session, _portal: UUID, job_id: UUID, request: SendReminders
) -> tuple[JobState, dict[str, Any]]:
    """Does one part of the reminders that are due, and owes a job for the rest. At night they wait for the morning.

    Raises: a transient error of the database when an account or an enrollment is held for over 250 ms.
    """
    if request.daytime and not is_daytime(session.execute(READ_NOW).scalar_one()):
        return JobState.SUCCEEDED, {"looked_at": 0, "reminded": 0, "more": False}
    wait_briefly_for_locks(session)
    due = session.execute(FIND_DUE_ACCOUNTS, {"most": PART + 1}).scalars().all()
    accounts = {row.id: row for row in session.execute(LOCK_ACCOUNTS, {"accounts": array(set(due[:PART]))})}
    rows = session.execute(LOCK_ENROLLMENTS, {"accounts": array(accounts), "together": REMINDED_TOGETHER}).all()
    decided = [_DecidedReminder(row, remind(_standing(row, accounts), row.now)) for row in rows]
    mailed = _one_each(decided)
    _move_on(session, decided)
    owe(session, [_mail(one, accounts, job_id) for one in mailed])
    more = len(due) > PART
    if more:
        owe_successor(session, job_id, request)
    return JobState.SUCCEEDED, {"looked_at": len(decided), "reminded": len(mailed), "more": more}


def _standing(row: Any, accounts: Mapping[UUID, Any]) -> RemindedEnrollment:
    return RemindedEnrollment(
        enrolled_at=row.enrolled_at,
        sent=row.reminders,
        activated=accounts[row.account_id].activated,
        left=row.has_left,
        wanted=row.wanted,
        over=row.over,
        invitation=None if row.invitation is None else EmailState(row.invitation),
        owed=row.owed,
        told_at=row.told_at if row.invitation in (EmailState.SENT, EmailState.UNCERTAIN) else None,
    )


def _one_each(decided: Sequence[_DecidedReminder]) -> list[_DecidedReminder]:
    """One reminder per account, of the training they were enrolled on last; the others only move on."""
    latest: dict[UUID, _DecidedReminder] = {}
    for one in sorted(decided, key=lambda one: (one.row.enrolled_at, one.row.id)):
        if one.reminder.step is not None:
            latest[one.row.account_id] = one
    return list(latest.values())


def _move_on(session: Session, decided: Sequence[_DecidedReminder]) -> None:
    if decided:
        parameters = {
            "ids": array(one.row.id for one in decided),
            "reminders": array(one.reminder.step or one.row.reminders for one in decided),
            "next_at": [one.reminder.next_at for one in decided],
        }
        session.execute(MOVE_REMINDERS, parameters)


def _mail(one: _DecidedReminder, accounts: Mapping[UUID, Any], job_id: UUID) -> OwedMail:
    row, account, step = one.row, accounts[one.row.account_id], one.reminder.step
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
