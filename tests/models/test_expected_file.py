"""These rules decide whether an expected file is missing, by times read in Europe/Paris."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from models.expected_file import MOST_MISSED, MissingFile, clean_cron, expected_times, find_missing_file
from models.paris import PARIS
from models.words import Code

HOUR = timedelta(hours=1)
WORKING_DAYS = "0 6 * * 1-5"
DAILY = "0 6 * * *"
THRICE = "0 6,12,18 * * *"
LONG_AGO = "2026-11-01 00:00"


def paris(at: str) -> datetime:
    return datetime.fromisoformat(at).replace(tzinfo=PARIS)


def shown(at: datetime) -> str:
    return f"{at.astimezone(PARIS):%m-%d %H:%M}"


def missing(
    cron: str, now: str, arrived: str | None, *, since: str = LONG_AGO, grace: timedelta = HOUR
) -> MissingFile | None:
    begun, arrived_at = paris(since), paris(arrived) if arrived else None
    times = expected_times(cron, max(begun, arrived_at or begun))
    return find_missing_file(times, since=begun, arrived_at=arrived_at, grace=grace, now=paris(now))


@pytest.mark.parametrize(
    ("cron", "now", "arrived", "expected"),
    [
        (DAILY, "2026-11-30 06:59", "2026-11-29 06:00", None),  # within its grace
        (DAILY, "2026-11-30 07:00", "2026-11-29 06:00", ("11-30 06:00", 1)),
        (DAILY, "2026-11-30 07:00", "2026-11-30 06:59", None),  # late, within its grace
        (DAILY, "2026-11-30 07:00", "2026-11-30 05:10", None),  # before its hour
        (DAILY, "2026-11-30 07:00", "2026-11-29 18:00", None),  # nearer to this time than to the one before
        (DAILY, "2026-11-30 07:00", "2026-11-29 17:59", ("11-30 06:00", 1)),
        (DAILY, "2026-11-30 15:00", "2026-11-30 12:00", None),  # long late: it has come
        (DAILY, "2026-12-01 07:00", "2026-11-30 12:00", ("12-01 06:00", 1)),  # and does not stand for the next
        (DAILY, "2026-12-03 06:30", "2026-11-30 06:00", ("12-01 06:00", 2)),  # the third is within its grace
        (DAILY, "2026-11-30 07:00", None, ("11-01 06:00", 30)),
        (WORKING_DAYS, "2026-11-29 12:00", "2026-11-27 06:00", None),  # Sunday: none is expected
        (WORKING_DAYS, "2026-11-30 07:00", "2026-11-27 06:00", ("11-30 06:00", 1)),
        (WORKING_DAYS, "2026-11-30 07:00", "2026-11-29 20:00", None),  # dropped on Sunday evening for Monday
        (WORKING_DAYS, "2026-11-30 07:00", "2026-11-28 09:00", ("11-30 06:00", 1)),  # Friday's, on Saturday
        (THRICE, "2026-11-30 13:00", "2026-11-30 06:01", ("11-30 12:00", 1)),
        (THRICE, "2026-11-30 13:00", "2026-11-30 09:00", None),
        (THRICE, "2026-12-01 07:00", "2026-11-30 06:01", ("11-30 12:00", 3)),
        ("* * * * *", "2026-11-30 12:00", "2026-11-01 06:01", ("11-01 06:02", MOST_MISSED)),
    ],
)
def test_a_file_is_missing_until_one_comes(
    cron: str, now: str, arrived: str | None, expected: tuple[str, int] | None
) -> None:
    found = missing(cron, now, arrived)
    assert (found and (shown(found.since), found.missed)) == expected


def test_what_was_missing_before_it_was_expected_is_not_told() -> None:
    assert missing(DAILY, "2026-11-30 09:00", None, since="2026-11-30 06:00") is None
    found = missing(DAILY, "2026-12-01 07:00", None, since="2026-11-30 06:00")
    assert found
    assert (shown(found.since), found.missed) == ("12-01 06:00", 1)


def test_a_file_that_came_before_it_was_expected_counts() -> None:
    assert missing(DAILY, "2026-11-30 09:00", "2026-11-30 05:50", since="2026-11-30 05:58") is None


def test_a_grace_may_be_longer_than_the_time_to_the_next_file() -> None:
    wait = timedelta(hours=3)
    assert missing("0 * * * *", "2026-11-30 09:30", "2026-11-30 07:00", grace=wait) is None
    found = missing("0 * * * *", "2026-11-30 12:00", "2026-11-30 07:00", grace=wait)
    assert found
    assert (shown(found.since), found.missed) == ("11-30 08:00", 2)


@pytest.mark.parametrize(
    ("cron", "moment", "expected"),
    [
        (DAILY, "2026-03-28 12:00", ["28T05:00", "29T04:00", "30T04:00"]),  # summer time begins: six stays six
        (DAILY, "2026-10-24 12:00", ["24T04:00", "25T05:00", "26T05:00"]),  # it ends
        ("30 2 * * *", "2026-03-28 12:00", ["28T01:30", "29T01:00", "30T00:30"]),  # 2:30 is skipped: it is 3:00
        ("30 2 * * *", "2026-10-24 12:00", ["24T00:30", "25T00:30", "26T01:30"]),  # 2:30 comes twice, the file once
        ("0,30 2-3 * * *", "2026-03-29 00:00", ["28T02:30", "29T01:00", "29T01:30"]),  # no time twice
        (
            "0 * * * *",
            "2026-10-25 01:30",
            ["24T23:00", "25T00:00", "25T01:00", "25T02:00"],
        ),  # each hour, also the third
    ],
)
def test_times_follow_the_clocks_of_paris(cron: str, moment: str, expected: list[str]) -> None:
    found = islice(expected_times(cron, paris(moment)), len(expected))
    assert [f"{at.astimezone(UTC):%dT%H:%M}" for at in found] == expected


@pytest.mark.parametrize("fold", [0, 1])
def test_a_moment_of_the_repeated_hour_goes_back_no_further_than_a_day(fold: int) -> None:
    moment = paris("2026-10-25 02:40").replace(fold=fold)
    found = list(islice(expected_times("50 2 * * *", moment), 3))
    assert found == sorted(set(found))
    assert moment - timedelta(days=2) < found[0] < moment


@pytest.mark.parametrize(
    "written",
    [
        *("", "daily", "@daily", "0 6 * *", "0 6 * * * *", "60 6 * * *", "0 24 * * *", "0 6 * * 8", "*/0 6 * * *"),
        *("0 6 31 2 *", "0 6 30 feb *", "٠ 6 * * *", "0 6 * * \x00", "0 6 * * 1-5; DROP TABLE inbox", "-1 6 * * *"),
        *("1," * 60 + "1 6 * * *", "9" * 90 + " 6 * * *", "0 6 * * 5-1"),
    ],
)
def test_times_that_cannot_be_read_or_never_come_are_refused(written: str) -> None:
    assert clean_cron(written) is Code.INVALID_CRON


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [(" 0  6 * *\t1-5 ", WORKING_DAYS), ("0 6 * * mon-fri", "0 6 * * mon-fri"), (THRICE, THRICE)],
)
def test_spaces_of_a_cron_expression_are_single_ones(written: str, cleaned: str) -> None:
    assert clean_cron(written) == cleaned
