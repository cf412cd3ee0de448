"""These rules decide how long an address stays on the suppression list."""

from datetime import UTC, datetime, timedelta

import pytest

from models.email import (
    HARD_BOUNCE_LIFETIME,
    SuppressionListing,
    SuppressionReason,
    list_after_bounce,
    list_by_operator,
)

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
BOUNCE, OPS = SuppressionReason.HARD_BOUNCE, SuppressionReason.OPS
UNTIL = NOW + HARD_BOUNCE_LIFETIME


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, SuppressionListing(BOUNCE, NOW, UNTIL)),
        (
            SuppressionListing(BOUNCE, NOW - 3 * DAY, NOW + 4 * DAY),
            SuppressionListing(BOUNCE, NOW - 3 * DAY, UNTIL),
        ),  # prolonged
        (
            SuppressionListing(BOUNCE, NOW - 9 * DAY, NOW - 2 * DAY),
            SuppressionListing(BOUNCE, NOW, UNTIL),
        ),  # expired, not purged yet
        (SuppressionListing(BOUNCE, NOW - 7 * DAY, NOW), SuppressionListing(BOUNCE, NOW, UNTIL)),
        (SuppressionListing(BOUNCE, NOW, UNTIL + DAY), SuppressionListing(BOUNCE, NOW, UNTIL + DAY)),  # never shortened
        (
            SuppressionListing(OPS, NOW - 90 * DAY, None),
            SuppressionListing(OPS, NOW - 90 * DAY, None),
        ),  # an entry of operators stays
    ],
)
def test_the_entry_after_a_bounce(known: SuppressionListing | None, expected: SuppressionListing) -> None:
    assert list_after_bounce(known, NOW) == expected
    assert list_after_bounce(expected, NOW) == expected  # the same bounce recorded twice


@pytest.mark.parametrize(
    ("until", "holds"), [(None, True), (NOW + timedelta(microseconds=1), True), (NOW, False), (NOW - DAY, False)]
)
def test_how_long_an_entry_holds(until: datetime | None, holds: bool) -> None:
    assert SuppressionListing(BOUNCE, NOW - DAY, until).holds(NOW) is holds


def listing(reason: SuppressionReason, since: datetime, until: datetime | None = None) -> SuppressionListing:
    return SuppressionListing(reason, since, until)


@pytest.mark.parametrize(
    ("known", "lasts", "expected"),
    [
        (None, None, listing(OPS, NOW)),
        (None, DAY, listing(OPS, NOW, NOW + DAY)),
        (listing(BOUNCE, NOW - 9 * DAY, NOW), DAY, listing(OPS, NOW, NOW + DAY)),  # over: it begins anew
        (listing(BOUNCE, NOW - DAY, NOW + 6 * DAY), 7 * DAY, listing(OPS, NOW, NOW + 7 * DAY)),
        (listing(BOUNCE, NOW - DAY, NOW + 6 * DAY), None, listing(OPS, NOW)),
        (listing(BOUNCE, NOW - DAY, NOW + 6 * DAY), 6 * DAY, listing(BOUNCE, NOW - DAY, NOW + 6 * DAY)),
        (listing(OPS, NOW - DAY), 7 * DAY, listing(OPS, NOW - DAY)),  # nothing is shortened
        (listing(OPS, NOW - DAY), None, listing(OPS, NOW - DAY)),
    ],
)
def test_what_ops_put_on_the_list(
    known: SuppressionListing | None, lasts: timedelta | None, expected: SuppressionListing
) -> None:
    assert list_by_operator(known, NOW, lasts) == expected
