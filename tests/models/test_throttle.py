"""These rules decide how often a person may ask for something."""

from datetime import UTC, datetime, timedelta

import pytest

from models.throttle import (
    COUNTS_FOR,
    DAY,
    HOUR,
    KEPT_LONGER,
    LIMITS,
    Asked,
    RateLimit,
    ThrottleScope,
    measure_allowance,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TWO_AN_HOUR = (RateLimit(2, HOUR),)
BOTH = (RateLimit(2, HOUR), RateLimit(3, DAY))


def ago(minutes: float, times: int = 1) -> Asked:
    return NOW - timedelta(minutes=minutes), times


@pytest.mark.parametrize(
    ("limits", "asked", "room", "opens_in"),
    [
        (TWO_AN_HOUR, [], 2, None),
        (TWO_AN_HOUR, [ago(10)], 1, None),
        (TWO_AN_HOUR, [ago(50), ago(10)], 0, 10),
        (TWO_AN_HOUR, [ago(60), ago(10)], 1, None),  # leaves the window at this moment
        (TWO_AN_HOUR, [ago(59.5), ago(10)], 0, 0.5),
        (TWO_AN_HOUR, [ago(50, 2)], 0, 10),
        (TWO_AN_HOUR, [ago(50), ago(30), ago(10)], -1, 30),  # the limit was lowered: the second must leave the window
        (TWO_AN_HOUR, [ago(50, 5), ago(10)], -4, 10),
        (BOTH, [ago(600), ago(300), ago(100)], 0, 840),
        (BOTH, [ago(600), ago(20), ago(10)], 0, 840),  # both limits are reached: the later moment counts
        (BOTH, [ago(1500), ago(20), ago(10)], 0, 40),
        (BOTH, [ago(600), ago(10)], 1, None),
    ],
)
def test_a_window_slides(limits: tuple[RateLimit, ...], asked: list[Asked], room: int, opens_in: float | None) -> None:
    allowance = measure_allowance(limits, asked, NOW)
    assert allowance.room == room
    assert allowance.closed_until() == (None if opens_in is None else NOW + timedelta(minutes=opens_in))


def test_granted_requests_count() -> None:
    before = measure_allowance(TWO_AN_HOUR, [ago(20)], NOW)
    allowance = before.after_one()
    assert (before.room, before.taken, before.closed_until()) == (1, 0, None)
    assert (allowance.room, allowance.taken) == (0, 1)
    assert allowance.closed_until() == NOW + timedelta(minutes=40)
    fresh = measure_allowance(TWO_AN_HOUR, [], NOW)
    assert fresh.after_one().after_one().closed_until() == NOW + HOUR


def test_every_scope_is_kept_as_long_as_its_limits_count() -> None:
    assert LIMITS.keys() == COUNTS_FOR.keys() == set(ThrottleScope)
    of_addresses = {ThrottleScope.CORRECTION_ENROLLMENT, ThrottleScope.CORRECTION_ACCOUNT}
    assert set(KEPT_LONGER) == of_addresses | {ThrottleScope.NAME_ACCOUNT}
    assert {COUNTS_FOR[scope] for scope in KEPT_LONGER} == {30 * DAY}
    assert COUNTS_FOR[ThrottleScope.REQUEST_PORTAL] == HOUR
    assert all(limit.times > 0 for limits in LIMITS.values() for limit in limits)
