"""These rules decide when the holder of an unused seat is warned and when the seat is released."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.base import new_id
from models.release import ReleaseStep, SeatHolder, expected_release, keeps_seat, release_step, released_from
from models.withdrawal import WithdrawalCandidate, WithdrawalVerdict, decide_withdrawals
from models.words import Code, Progress

ENROLLED = datetime(2026, 3, 2, 9, tzinfo=UTC)
NOTHING, WARN, RELEASE = ReleaseStep


def after(days: float) -> datetime:
    return ENROLLED + timedelta(days=days)


@pytest.mark.parametrize(
    ("warned", "option", "now", "step"),
    [
        (None, None, 500, NOTHING),  # off
        (1, None, 500, NOTHING),  # switched off after a warning
        (None, 30, 22.9, NOTHING),
        (None, 30, 23, WARN),
        (None, 30, 29, WARN),
        (None, 30, 400, WARN),  # a late release still needs a warning first
        (23, 30, 29.9, NOTHING),
        (23, 30, 30, RELEASE),
        (23.3, 30, 30, NOTHING),  # a whole week after the warning
        (23.3, 30, 30.3, RELEASE),
        (100, 30, 106.9, NOTHING),  # the option was set long after the enrollment
        (100, 30, 107, RELEASE),
        (23, 60, 31, NOTHING),  # the delay became longer in between
        (None, 14, 6.9, NOTHING),
        (None, 14, 7, WARN),
        (7, 14, 14, RELEASE),
    ],
)
def test_warned_a_week_before_and_released_a_week_after(
    warned: float | None, option: int | None, now: float, step: ReleaseStep
) -> None:
    warned_at = None if warned is None else after(warned)
    assert release_step(ENROLLED, warned_at, option, after(now)) is step


@pytest.mark.parametrize(
    ("warned", "option", "now", "expected"),
    [
        (None, 30, 2, 30),
        (None, 30, 25, 32),  # warned today at the earliest
        (23, 30, 24, 30),
        (25, 30, 26, 32),
        (None, 14, 10, 17),
    ],
)
def test_the_announced_date_of_a_release(warned: float | None, option: int, now: float, expected: float) -> None:
    warned_at = None if warned is None else after(warned)
    assert expected_release(ENROLLED, warned_at, option, after(now)) == after(expected)


@pytest.mark.parametrize("enrolled", ["2026-03-15T09:00+01:00", "2026-10-11T09:00+02:00"])
def test_a_day_is_twenty_four_hours_also_when_the_clocks_change(enrolled: str) -> None:
    at = datetime.fromisoformat(enrolled).astimezone(UTC)
    assert released_from(at, at + timedelta(days=7), 14) == at + timedelta(hours=14 * 24)
    assert release_step(at, at + timedelta(days=7), 14, at + timedelta(hours=14 * 24 - 1)) is NOTHING


DUE = SeatHolder(ENROLLED, after(23), None, detached=False)


@pytest.mark.parametrize(
    ("holder", "option", "over", "code"),
    [
        (DUE, 30, False, None),
        (DUE._replace(activated_at=after(29)), 30, False, Code.ALREADY_ACTIVATED),
        (DUE._replace(activated_at=after(29)), None, False, Code.ALREADY_ACTIVATED),
        (DUE._replace(warned_at=None), 30, False, Code.NOT_DUE),
        (DUE._replace(warned_at=after(24)), 30, False, Code.NOT_DUE),
        (DUE._replace(detached=True), 30, False, Code.NOT_DUE),
        (DUE, None, False, Code.NOT_DUE),
        (DUE, 31, False, Code.NOT_DUE),
        (DUE, 30, True, Code.NOT_DUE),
    ],
)
def test_the_reasons_to_keep_a_seat_due_for_release(
    holder: SeatHolder, option: int | None, over: bool, code: Code | None
) -> None:
    assert keeps_seat(holder, option, after(30), over=over) is code


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({}, Code.ALREADY_ACTIVATED),
        ({"progress": Progress.IN_PROGRESS}, Code.ALREADY_STARTED),
        ({"withdrawn_at": ENROLLED}, Code.ALREADY_WITHDRAWN),
    ],
)
def test_the_refusals_of_a_withdrawal_come_before_those_of_a_release(facts: dict[str, Any], code: Code) -> None:
    one = new_id()
    stays = WithdrawalVerdict(Code.ALREADY_ACTIVATED, {"since": "2026"})
    standing = WithdrawalCandidate(
        **{"progress": Progress.NOT_STARTED, "since": None, "withdrawn_at": None, "stays": stays} | facts
    )
    [decision] = decide_withdrawals([one], {one: standing}, after(30)).verdicts
    assert decision.code is code
