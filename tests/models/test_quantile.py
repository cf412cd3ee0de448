"""The time within which a part of all durations lay, from their numbers in bands."""

import pytest

from models.counts import BANDS, BOUNDS, quantile


def bands(**numbers: int) -> list[int]:
    return [numbers.get(f"b{place}", 0) for place in range(BANDS)]


@pytest.mark.parametrize(
    ("of", "part", "seconds"),
    [
        (bands(), 0.5, None),
        (bands(b0=10), 0.5, 0.025),
        (bands(b0=10), 1.0, 0.05),
        (bands(b2=4), 0.0, 0.25),
        (bands(b2=4), 1.0, 1.0),
        (bands(b0=50, b3=50), 0.5, 0.05),
        (bands(b0=50, b3=50), 0.75, 3.0),
        (bands(b0=94, b4=6), 0.95, 5 + 25 / 6),
        (bands(b8=3), 0.5, BOUNDS[-1]),
        (bands(b7=1, b8=1), 0.95, BOUNDS[-1]),
    ],
)
def test_a_quantile_lies_in_its_band(of: list[int], part: float, seconds: float | None) -> None:
    assert quantile(of, part) == (seconds if seconds is None else pytest.approx(seconds))
