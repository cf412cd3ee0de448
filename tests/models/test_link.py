"""These rules decide what a link answers and who receives a new one."""

from datetime import UTC, datetime, timedelta

import pytest

from models.link import (
    LINK_LIFETIME,
    MOST_RESENT,
    LinkHolder,
    ResendVerdict,
    answer_invitation,
    answer_reset,
    link_refused,
)
from models.throttle import HOUR, Allowance, RateLimit, measure_allowance
from models.words import Code, Purpose

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEFORE, LATER, INSTANT = NOW - timedelta(days=1), NOW + timedelta(days=1), timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("consumed_at", "voided_at", "expires_at", "expected"),
    [
        (None, None, LATER, None),
        (None, None, NOW + INSTANT, None),
        (None, None, NOW, Code.EXPIRED_LINK),
        (None, None, BEFORE, Code.EXPIRED_LINK),
        (BEFORE, None, LATER, Code.USED_LINK),
        (None, BEFORE, LATER, Code.INVALID_LINK),
        (None, BEFORE, BEFORE, Code.INVALID_LINK),
        (BEFORE, None, BEFORE, Code.USED_LINK),
        (BEFORE, BEFORE, BEFORE, Code.USED_LINK),  # the person who used it is told so
    ],
)
def test_why_a_link_is_refused(
    consumed_at: datetime | None, voided_at: datetime | None, expires_at: datetime, expected: Code | None
) -> None:
    answer = link_refused(consumed_at=consumed_at, voided_at=voided_at, expires_at=expires_at, now=NOW)
    assert answer is expected


def test_every_purpose_has_a_lifetime() -> None:
    assert {purpose: LINK_LIFETIME[purpose] for purpose in Purpose} == {
        Purpose.ACTIVATION: timedelta(days=30),
        Purpose.PASSWORD_RESET: timedelta(hours=1),
        Purpose.CORRECTION_CONFIRMATION: timedelta(days=14),
        Purpose.CORRECTION_ANSWER: timedelta(days=14),
        Purpose.NOT_ME: timedelta(days=30),
        Purpose.NAME_CONFIRMATION: timedelta(days=14),
    }


ENDS = NOW + timedelta(minutes=50)
GONE = NOW - timedelta(days=3)
FULL = NOW + timedelta(minutes=40)


def allowance(*, full: bool = False) -> Allowance:
    return measure_allowance((RateLimit(1, HOUR),), [(NOW - timedelta(minutes=20), 1)] if full else [], NOW)


@pytest.mark.parametrize(
    ("holder", "full", "reset", "invitation"),
    [
        (None, False, ResendVerdict(Code.NOT_FOUND), ResendVerdict(Code.NOT_FOUND)),
        (LinkHolder(None, activated=True), False, ResendVerdict(Code.SENT), ResendVerdict(Code.ALREADY_ACTIVATED)),
        (
            LinkHolder(None, activated=False),
            False,
            ResendVerdict(Code.ACTIVATION_SENT_INSTEAD),
            ResendVerdict(Code.SENT),
        ),
        (LinkHolder(GONE, activated=True), False, *[ResendVerdict(Code.ALREADY_WITHDRAWN, GONE)] * 2),
        (LinkHolder(GONE, activated=False), True, *[ResendVerdict(Code.ALREADY_WITHDRAWN, GONE)] * 2),
        (
            LinkHolder(None, activated=True),
            True,
            ResendVerdict(Code.THROTTLED, FULL),
            ResendVerdict(Code.ALREADY_ACTIVATED),
        ),
        (LinkHolder(None, activated=False), True, *[ResendVerdict(Code.THROTTLED, FULL)] * 2),
        (
            LinkHolder(None, False, MOST_RESENT - 1, ENDS),
            False,
            ResendVerdict(Code.ACTIVATION_SENT_INSTEAD),
            ResendVerdict(Code.SENT),
        ),
        (LinkHolder(None, False, MOST_RESENT, ENDS), False, *[ResendVerdict(Code.THROTTLED, ENDS)] * 2),
        (
            LinkHolder(None, False, MOST_RESENT, ENDS),
            True,
            *[ResendVerdict(Code.THROTTLED, ENDS)] * 2,
        ),  # the later of the two moments
        (LinkHolder(None, False, MOST_RESENT, NOW), True, *[ResendVerdict(Code.THROTTLED, FULL)] * 2),
        (LinkHolder(None, True, detached_at=GONE), False, *[ResendVerdict(Code.DETACHED, GONE)] * 2),
        (LinkHolder(NOW, False, detached_at=GONE, suppressed=GONE), True, *[ResendVerdict(Code.DETACHED, GONE)] * 2),
        (LinkHolder(GONE, True, suppressed=GONE), False, *[ResendVerdict(Code.ALREADY_WITHDRAWN, GONE)] * 2),
        (
            LinkHolder(None, True, suppressed=GONE),
            False,
            ResendVerdict(Code.SUPPRESSED_ADDRESS, GONE),
            ResendVerdict(Code.ALREADY_ACTIVATED),
        ),
        (
            LinkHolder(None, False, suppressed=GONE),
            True,
            *[ResendVerdict(Code.SUPPRESSED_ADDRESS, GONE)] * 2,
        ),  # also beyond the rate limit
        (
            LinkHolder(None, True, MOST_RESENT, None),
            False,
            ResendVerdict(Code.SENT),
            ResendVerdict(Code.ALREADY_ACTIVATED),
        ),
    ],
)
def test_the_answers_to_requests_for_a_link(
    holder: LinkHolder | None, full: bool, reset: ResendVerdict, invitation: ResendVerdict
) -> None:
    for rule, expected in ((answer_reset, reset), (answer_invitation, invitation)):
        verdict, (wide, own) = rule(holder, (allowance(), allowance(full=full)))
        assert verdict == expected
        taken = int(expected.code in {Code.SENT, Code.ACTIVATION_SENT_INSTEAD})
        assert (wide.taken, own.taken) == (taken, taken)  # a refused request counts for no limit
