"""These rules decide when a reminder is sent, postponed or dropped."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from models.reminder import (
    NO_MORE,
    REMINDER_STEPS,
    RemindedEnrollment,
    ReminderDecision,
    contract_reminds,
    decide_reminder,
    is_last,
)
from models.words import EmailState

ENROLLED = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def after(days: float) -> datetime:
    return ENROLLED + timedelta(days=days)


@pytest.mark.parametrize(
    ("sent", "now", "expected"),
    [
        (0, after(2), ReminderDecision(1, after(5))),
        (0, after(2.4), ReminderDecision(1, after(5))),
        (1, after(5), ReminderDecision(2, after(10))),
        (2, after(10), ReminderDecision(3, None)),
        (3, after(11), NO_MORE),
        # After an outage: one now, the next at least a day later.
        (0, after(4.5), ReminderDecision(1, after(5.5))),
        (0, after(30), ReminderDecision(1, after(31))),
        (1, after(31), ReminderDecision(2, after(32))),
        (2, after(32), ReminderDecision(3, None)),
    ],
)
def test_the_steps_are_two_five_and_ten_days(sent: int, now: datetime, expected: ReminderDecision) -> None:
    assert decide_reminder(RemindedEnrollment(ENROLLED, sent), now) == expected


@pytest.mark.parametrize("owed", [False, True])
@pytest.mark.parametrize(
    "facts",
    [{"activated": True}, {"left": True}, {"wanted": False}, {"over": True}],
)
def test_the_events_that_end_reminders(facts: dict[str, Any], owed: bool) -> None:
    assert decide_reminder(RemindedEnrollment(ENROLLED, 0, owed=owed, **facts), after(2)) == NO_MORE


@pytest.mark.parametrize(
    ("invitation", "owed", "told_at", "expected"),
    [
        (EmailState.SENT, False, after(0), ReminderDecision(1, after(5))),
        (EmailState.SENT, False, after(1), ReminderDecision(1, after(5))),
        (EmailState.SENT, False, after(1.5), ReminderDecision(None, after(2.5))),  # it left late, or was sent again
        (EmailState.UNCERTAIN, False, after(1.5), ReminderDecision(None, after(2.5))),  # it may have arrived
        (EmailState.OWED, True, None, ReminderDecision(None, after(3))),
        (EmailState.SENDING, True, None, ReminderDecision(None, after(3))),
        (EmailState.UNCERTAIN, True, None, ReminderDecision(None, after(3))),
        (EmailState.EXPIRED, False, None, ReminderDecision(1, after(5))),  # the reminder then carries the link
        (EmailState.FAILED, False, None, NO_MORE),
        (EmailState.BOUNCED, False, None, NO_MORE),
        (EmailState.COMPLAINED, False, None, NO_MORE),
        (EmailState.SUPPRESSED, False, None, NO_MORE),
        (EmailState.CANCELLED, False, None, NO_MORE),
        (None, False, None, ReminderDecision(1, after(5))),  # its row was deleted
    ],
)
def test_the_state_of_the_invitation(
    invitation: EmailState | None, owed: bool, told_at: datetime | None, expected: ReminderDecision
) -> None:
    standing = RemindedEnrollment(ENROLLED, 0, invitation=invitation, owed=owed, told_at=told_at)
    assert decide_reminder(standing, after(2)) == expected


@pytest.mark.parametrize("enrolled", ["2026-03-28T09:00+01:00", "2026-10-24T09:00+02:00"])
def test_a_day_is_twenty_four_hours_also_when_the_clocks_change(enrolled: str) -> None:
    at = datetime.fromisoformat(enrolled)
    assert decide_reminder(RemindedEnrollment(at, 0), at + 2 * DAY) == ReminderDecision(1, at + 5 * DAY)
    assert decide_reminder(RemindedEnrollment(at, 0), at + 5 * DAY) == ReminderDecision(1, at + 6 * DAY)


@pytest.mark.parametrize(
    ("wanted", "ends_on", "expected"),
    [
        (True, None, True),
        (True, date(2026, 3, 2), True),
        (True, date(2026, 3, 1), False),
        (False, None, False),
        (False, date(2026, 3, 1), False),
    ],
)
def test_a_contract_reminds_people_until_its_last_day(wanted: bool, ends_on: date | None, expected: bool) -> None:
    assert contract_reminds(wanted, ends_on, date(2026, 3, 2)) is expected


def test_the_third_reminder_is_the_last() -> None:
    assert [is_last(step) for step in range(1, len(REMINDER_STEPS) + 1)] == [False, False, True]
