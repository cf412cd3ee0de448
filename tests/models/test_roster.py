"""This rule computes the progress of an import."""

import pytest

from models.roster import ImportProgress, measure_import


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
def test_progress(rows: int | None, done: int, seconds: float | None, expected: ImportProgress) -> None:
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
def test_progress_of_what_has_ended(rows: int | None, done: int, expected: ImportProgress) -> None:
    assert measure_import(rows, done, 10.0, finished=True) == expected
