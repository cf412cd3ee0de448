"""Reminders of an invitation nobody followed: when each is due, and what becomes of one that is."""

from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from models.words import EmailState

REMINDER_STEPS: Final = (timedelta(days=2), timedelta(days=5), timedelta(days=10))
"""How long after an enrollment each reminder is due. A day is 24 hours: no reminder is due at a given hour."""

REMINDER_GAP: Final = timedelta(days=1)
"""The least time between two mails about one enrollment, also when an outage made several due at once."""

REMINDED_TOGETHER: Final = timedelta(hours=12)
"""What falls due so soon after goes with a reminder sent now: nobody is reminded twice on one day of two trainings."""

_NEVER_HAD: Final = frozenset({EmailState.FAILED, EmailState.SUPPRESSED, EmailState.CANCELLED})
"""What became of an invitation whose address is to be corrected before anything more is sent to it."""


class RemindedEnrollment(NamedTuple):
    """An enrollment whose reminder is due, as it stands while account and enrollment are held.

    Parameters:
      sent: reminders so far.
      activated: whether the account has a password by now (or is nobody's any more).
      left: withdrawn, or detached by the person.
      wanted: whether the contract has people reminded.
      over: whether the contract is over.
      invitation: what became of the latest mail that invited the person to this training; None when it is not known.
      owed: whether that mail still waits to be sent.
      told_at: when that mail ended, however it did.
    """

    enrolled_at: datetime
    sent: int
    activated: bool = False
    left: bool = False
    wanted: bool = True
    over: bool = False
    invitation: EmailState | None = EmailState.SENT
    owed: bool = False
    told_at: datetime | None = None


class ReminderDecision(NamedTuple):
    """What is done: which reminder is sent now (1 is the first, None is none), and when to look again, if ever."""

    step: int | None
    next_at: datetime | None


NO_MORE: Final = ReminderDecision(None, None)


def reminds(wanted: bool, ends_on: date | None, today: date) -> bool:
    """Whether a contract has people reminded: it wants to, and is not over.

    Parameters:
      today: the date in Europe/Paris.
    """
    return wanted and (ends_on is None or ends_on >= today)


def is_last(step: int) -> bool:
    """Whether no further reminder follows this one."""
    return step >= len(REMINDER_STEPS)


def remind(standing: RemindedEnrollment, now: datetime) -> ReminderDecision:
    """Decides what becomes of one reminder that is due.

    An invitation that was not sent in time (``expired``) stops nothing: the reminder then brings the link. One that
    reached nobody stops them until it is sent again or the address is corrected; a contract that wants none, or is
    over, until it does or is prolonged (``workers/enrollment/reminders.py``).

    Parameters:
      now: the time of the transaction.
    """
    stopped = standing.activated or standing.left or standing.over or not standing.wanted
    if stopped or standing.sent >= len(REMINDER_STEPS):
        return NO_MORE
    if standing.owed:
        return ReminderDecision(None, now + REMINDER_GAP)
    if standing.invitation in _NEVER_HAD:
        return NO_MORE
    if standing.told_at is not None and standing.told_at + REMINDER_GAP > now:
        return ReminderDecision(None, standing.told_at + REMINDER_GAP)
    step = standing.sent + 1
    return ReminderDecision(
        step, None if is_last(step) else max(standing.enrolled_at + REMINDER_STEPS[step], now + REMINDER_GAP)
    )
