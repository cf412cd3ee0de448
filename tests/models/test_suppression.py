"""How long an address is left alone."""

from datetime import UTC, datetime, timedelta

import pytest

from models.suppression import HARD_BOUNCE_LIFETIME, Listing, SuppressionReason, bounced

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
BOUNCE, OPS = SuppressionReason.HARD_BOUNCE, SuppressionReason.OPS
UNTIL = NOW + HARD_BOUNCE_LIFETIME


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, Listing(BOUNCE, NOW, UNTIL)),
        (Listing(BOUNCE, NOW - 3 * DAY, NOW + 4 * DAY), Listing(BOUNCE, NOW - 3 * DAY, UNTIL)),  # prolonged
        (Listing(BOUNCE, NOW - 9 * DAY, NOW - 2 * DAY), Listing(BOUNCE, NOW, UNTIL)),  # over, not purged yet
        (Listing(BOUNCE, NOW - 7 * DAY, NOW), Listing(BOUNCE, NOW, UNTIL)),
        (Listing(BOUNCE, NOW, UNTIL + DAY), Listing(BOUNCE, NOW, UNTIL + DAY)),  # never shortened
        (Listing(OPS, NOW - 90 * DAY, None), Listing(OPS, NOW - 90 * DAY, None)),  # what ops wrote stays
    ],
)
def test_a_bounce(known: Listing | None, expected: Listing) -> None:
    assert bounced(known, NOW) == expected
    assert bounced(expected, NOW) == expected  # the same bounce recorded twice


@pytest.mark.parametrize(
    ("until", "holds"), [(None, True), (NOW + timedelta(microseconds=1), True), (NOW, False), (NOW - DAY, False)]
)
def test_how_long_it_holds(until: datetime | None, holds: bool) -> None:
    assert Listing(BOUNCE, NOW - DAY, until).holds(NOW) is holds
