"""These rules compute the progress of an import, and choose the files of a folder that are taken."""

from datetime import UTC, datetime, timedelta

import pytest

from models.roster import (
    SETTLED_AFTER,
    ImportProgress,
    is_dropped_file,
    is_settled,
    measure_import,
    too_many_changes,
)
from models.words import Code


@pytest.mark.parametrize(
    ("rows", "done", "seconds", "expected"),
    [
        (None, 0, None, ImportProgress(None, 0, None, None)),
        (None, 0, 12.0, ImportProgress(None, 0, None, None)),
        (1_000, 0, None, ImportProgress(1_000, 0, 0, None)),
        (1_000, 0, 3.0, ImportProgress(1_000, 0, 0, None)),
        (1_000, 250, 10.0, ImportProgress(1_000, 250, 25, 30)),
        (1_000, 999, 10.0, ImportProgress(1_000, 999, 99, 1)),  # 100 only when all rows are done
        (3, 1, 1.0, ImportProgress(3, 1, 33, 2)),
        (1_000, 1_000, 40.0, ImportProgress(1_000, 1_000, 100, 0)),
        (1_000, 1_200, 40.0, ImportProgress(1_000, 1_000, 100, 0)),
        (1_000, 500, -1.0, ImportProgress(1_000, 500, 50, None)),  # the clock was set back
        (0, 0, 1.0, ImportProgress(0, 0, 100, 0)),
    ],
)
def test_the_progress_of_an_import(
    rows: int | None, done: int, seconds: float | None, expected: ImportProgress
) -> None:
    assert measure_import(rows, done, seconds, finished=False) == expected


@pytest.mark.parametrize(
    ("rows", "done", "expected"),
    [
        (None, 0, ImportProgress(None, 0, None, None)),
        (1_000, 0, ImportProgress(1_000, 0, 0, None)),
        (1_000, 400, ImportProgress(1_000, 400, 40, None)),  # cancelled: the rest is not done
        (1_000, 1_000, ImportProgress(1_000, 1_000, 100, 0)),
    ],
)
def test_the_progress_of_an_import_that_has_ended(rows: int | None, done: int, expected: ImportProgress) -> None:
    assert measure_import(rows, done, 10.0, finished=True) == expected


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("export RH.csv", True),
        ("liste.xlsx", True),
        (".export.csv", False),
        ("~$liste.xlsx", False),
        ("_export.csv", False),
        ("export.csv.part", False),
        ("export.csv.TMP", False),
    ],
)
def test_hidden_and_unfinished_files_are_left_alone(name: str, taken: bool) -> None:
    assert is_dropped_file(name) is taken


@pytest.mark.parametrize(("seconds_short", "settled"), [(0, True), (-1, True), (1, False)])
def test_a_file_is_taken_once_it_has_rested(seconds_short: int, settled: bool) -> None:
    seen_at = datetime(2026, 3, 14, 9, tzinfo=UTC)
    assert is_settled(seen_at, seen_at + SETTLED_AFTER - timedelta(seconds=seconds_short)) is settled


@pytest.mark.parametrize(
    ("joining", "participants", "percent", "expected"),
    [
        (50, 100, None, None),
        (50, 0, 1, None),  # the first file of a contract
        (20, 100, 20, None),
        (21, 100, 20, Code.TOO_MANY_CHANGES),
        (1, 4, 20, Code.TOO_MANY_CHANGES),
        (1, 5, 20, None),
        (1, 1, 100, None),
    ],
)
def test_a_file_may_add_so_many_people(
    joining: int, participants: int, percent: int | None, expected: Code | None
) -> None:
    assert too_many_changes(joining, participants, percent) is expected
