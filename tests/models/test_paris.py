"""These rules decide when the automatic work of Matricule may write to people."""

from datetime import datetime

import pytest

from models.paris import is_daytime


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-27T08:00+01:00", True),  # a Friday
        ("2026-03-27T07:59:59+01:00", False),
        ("2026-03-27T19:59:59+01:00", True),
        ("2026-03-27T20:00+01:00", False),
        ("2026-03-28T12:00+01:00", False),
        ("2026-03-29T12:00+02:00", False),
        ("2026-03-30T08:00+02:00", True),
        ("2026-03-30T06:30+00:00", True),  # summer time in Paris
        ("2026-10-26T06:30+00:00", False),  # winter time in Paris
        ("2026-03-29T23:30+00:00", False),  # Monday in Paris, at night
    ],
)
def test_monday_to_friday_from_eight_to_eight_in_paris(now: str, expected: bool) -> None:
    assert is_daytime(datetime.fromisoformat(now)) is expected
