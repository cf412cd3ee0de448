"""What a link answers."""

from datetime import UTC, datetime, timedelta

import pytest

from models.link import LIFETIME, link_refused
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
        (BEFORE, BEFORE, BEFORE, Code.USED_LINK),  # somebody who used it is told that, whatever came after
    ],
)
def test_why_a_link_is_refused(
    consumed_at: datetime | None, voided_at: datetime | None, expires_at: datetime, expected: Code | None
) -> None:
    answer = link_refused(consumed_at=consumed_at, voided_at=voided_at, expires_at=expires_at, now=NOW)
    assert answer is expected


def test_every_purpose_has_a_lifetime() -> None:
    assert {purpose: LIFETIME[purpose] for purpose in Purpose} == {
        Purpose.ACTIVATION: timedelta(days=30),
        Purpose.PASSWORD_RESET: timedelta(hours=1),
        Purpose.CORRECTION_CONFIRMATION: timedelta(days=14),
        Purpose.CORRECTION_ANSWER: timedelta(days=14),
        Purpose.NOT_ME: timedelta(days=30),
    }
