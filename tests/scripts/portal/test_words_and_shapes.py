"""Days, hours and numbers as each language writes them, and the strip of seats."""

import re
from datetime import UTC, date, datetime

from scripts.portal.moments import day_and_hour, hour, long_day, short_day
from scripts.portal.seats import seat_strip
from scripts.portal.texts import shown_number

SPACE, NARROW = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"
NIGHT = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
TODAY = date(2026, 6, 1)


def test_days_are_those_of_paris() -> None:
    assert short_day(NIGHT, "fr", today=TODAY) == f"1<sup>er</sup>{SPACE}déc."
    assert short_day(NIGHT.isoformat(), "en", today=TODAY) == f"1{SPACE}Dec"
    assert short_day(date(2025, 3, 2), "fr", today=TODAY) == f"2{SPACE}mars{SPACE}2025"
    assert long_day("2026-09-01", "fr") == "1<sup>er</sup> septembre 2026"
    assert long_day(date(2026, 9, 11), "fr") == "11 septembre 2026"


def test_hours_are_written_as_each_language_does() -> None:
    assert (hour(NIGHT, "fr"), hour(NIGHT, "en")) == (f"0{SPACE}h{SPACE}30", "00:30")
    assert day_and_hour(datetime(2020, 1, 2, 8, 5, tzinfo=UTC), "en") == f"2{SPACE}Jan{SPACE}2020, 09:05"


def test_numbers_have_their_groups() -> None:
    assert (shown_number(10_000, "fr"), shown_number(10_000, "en"), shown_number(12, "fr")) == (
        f"10{NARROW}000",
        "10,000",
        "12",
    )


def drawn(strip: str) -> list[str]:
    return re.findall(r'rect class="(\w+)"', strip)


def test_a_seat_is_a_cell_and_many_seats_are_one_bar() -> None:
    assert drawn(seat_strip("", used=2, more=1, back=1, free=1)) == ["used", "used", "more", "back", "free"]
    assert drawn(seat_strip("", used=30, free=30)) == ["used"] * 30 + ["free"] * 30
    assert drawn(seat_strip("", used=31, free=30)) == ["used", "free"]
    assert drawn(seat_strip("", used=1_000_000, free=0)) == ["used"]
    assert drawn(seat_strip("", used=0, free=0)) == []
    assert drawn(seat_strip("", used=3, free=-2)) == ["used"] * 3


def test_the_cells_fill_the_strip_and_say_what_they_are() -> None:
    strip = seat_strip('13 "places" < 30', used=2, free=1)
    assert 'aria-label="13 &#34;places&#34; &lt; 30"' in strip
    last = re.findall(r'x="([\d.]+)" y=".5" width="([\d.]+)"', strip)[-1]
    assert abs(float(last[0]) + float(last[1]) - 300) < 0.1
