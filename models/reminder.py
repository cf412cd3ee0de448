"""A person who does not follow an invitation is reminded; these rules decide when, and when reminders stop."""

from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from models.words import EmailState

REMINDER_STEPS: Final = (timedelta(days=2), timedelta(days=5), timedelta(days=10))
"""Each reminder is due this long after the enrollment. A day is 24 hours: no reminder has a fixed hour."""

REMINDER_GAP: Final = timedelta(days=1)
"""Two mails about one enrollment are at least this far apart, also when an outage made several due at once."""

REMINDED_TOGETHER: Final = timedelta(hours=12)
"""A reminder due within this time goes with the one sent now: two trainings do not remind a person twice a day."""

_NEVER_HAD: Final = frozenset(
    {EmailState.FAILED, EmailState.BOUNCED, EmailState.COMPLAINED, EmailState.SUPPRESSED, EmailState.CANCELLED}
)
"""An invitation in one of these states did not reach the person, or is not wanted: no reminder follows until that is
put right."""


class RemindedEnrollment(NamedTuple):
    """The facts of an enrollment with a reminder due, read while account and enrollment are locked.

    Parameters:
      sent: reminders so far.
      activated: whether the account has a password, or its person was erased.
      left: whether the person was withdrawn or detached.
      wanted: whether the contract wants reminders.
      over: whether the contract is over.
      invitation: the state of the latest mail that invited the person to this training; None when it is not known.
      owed: whether that mail still waits to be sent.
      told_at: when that mail reached its final state.
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
    """The reminder to send now (1 is the first, None is none), and when to look again (None is never)."""

    step: int | None
    next_at: datetime | None


NO_MORE: Final = ReminderDecision(None, None)


def contract_reminds(wanted: bool, ends_on: date | None, today: date) -> bool:
    """Whether a contract reminds people: it wants reminders and is not over.

    Parameters:
      today: the date in Europe/Paris.
    """
    return wanted and (ends_on is None or ends_on >= today)


def is_last(step: int) -> bool:
    """Whether no further reminder follows this one."""
    return step >= len(REMINDER_STEPS)


def decide_reminder(standing: RemindedEnrollment, now: datetime) -> ReminderDecision:
    """Decides about one reminder that is due.

    An invitation that was not sent in time (``expired``) stops no reminder: the reminder then brings the link. An
    invitation that did not reach the person stops the reminders until it is sent again or the address is corrected. A
    contract that wants no reminders, or is over, stops them until it wants them or is prolonged
    (``workers/enrollment/reminders.py``).

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
