"""These rules decide when a contract is open and the smallest number of seats it may have."""

from datetime import date
from typing import Any

import pytest

from models.contract import ContractTerms, SeatUse, changed_terms, closed_because, seats_refused, shares_reached
from models.words import Code

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)


@pytest.mark.parametrize(
    ("starts_on", "ends_on", "today", "expected"),
    [
        (None, None, date(2026, 1, 1), None),
        (FIRST, None, date(2026, 2, 28), Code.CONTRACT_NOT_STARTED),
        (FIRST, None, FIRST, None),
        (None, LAST, LAST, None),
        (None, LAST, date(2026, 4, 1), Code.CONTRACT_EXPIRED),
        (FIRST, LAST, date(2026, 3, 15), None),
        (FIRST, FIRST, FIRST, None),
        (FIRST, LAST, date(2026, 2, 28), Code.CONTRACT_NOT_STARTED),
        (FIRST, LAST, date(2026, 4, 1), Code.CONTRACT_EXPIRED),
        (date.min, date.max, FIRST, None),
    ],
)
def test_both_days_are_included(
    starts_on: date | None, ends_on: date | None, today: date, expected: Code | None
) -> None:
    assert closed_because(starts_on, ends_on, today) is expected


@pytest.mark.parametrize(
    ("planned_seats", "enrolled_count", "expected"),
    [
        (0, 0, None),
        (10, 0, None),
        (10, 10, None),
        (9, 10, Code.SEATS_BELOW_ENROLLED),
        (0, 1, Code.SEATS_BELOW_ENROLLED),
    ],
)
def test_never_fewer_seats_than_are_used(planned_seats: int, enrolled_count: int, expected: Code | None) -> None:
    assert seats_refused(planned_seats, enrolled_count) is expected


TERMS = ContractTerms(10, FIRST, None, "manager@example.com", "fr", reminders=True, release_after_days=None)


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({}, {}),
        ({"planned_seats": 12}, {"planned_seats": 12}),
        ({"starts_on": None, "ends_on": LAST}, {"starts_on": None, "ends_on": "2026-03-31"}),
        ({"manager_email": "other@example.com"}, {"manager_email": "changed"}),  # the trail keeps no address
        ({"manager_email": None}, {"manager_email": "removed"}),
        ({"reminders": False, "release_after_days": 30}, {"reminders": False, "release_after_days": 30}),
    ],
)
def test_what_the_audit_trail_is_told_of_a_change(after: dict[str, Any], told: dict[str, Any]) -> None:
    assert changed_terms(TERMS, TERMS._replace(**after)) == told


@pytest.mark.parametrize(
    ("before", "after", "reached"),
    [
        ((10, 0), (10, 7), []),
        ((10, 7), (10, 8), [75]),
        ((10, 8), (10, 8), []),
        ((10, 8), (10, 9), [90]),
        ((10, 9), (10, 10), [100]),
        ((10, 0), (10, 10), [75, 90, 100]),
        ((10, 10), (10, 8), []),
        ((4, 2), (4, 3), [75]),  # exactly three quarters
        ((1_000_000, 749_999), (1_000_000, 750_000), [75]),
        ((1, 0), (1, 1), [75, 90, 100]),
        ((10, 5), (6, 5), [75]),  # fewer seats were bought
        ((6, 5), (20, 5), []),
        ((0, 0), (0, 0), []),  # no seats: full from the beginning
        ((10, 0), (0, 0), [75, 90, 100]),
        ((0, 0), (10, 0), []),
    ],
)
def test_a_share_of_used_seats_is_reached_once(
    before: tuple[int, int], after: tuple[int, int], reached: list[int]
) -> None:
    assert shares_reached(SeatUse(*before), SeatUse(*after)) == reached
