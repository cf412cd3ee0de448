"""How far the import of a file, or what takes one back, is: computed from rows of the database."""

from typing import NamedTuple


class ImportProgress(NamedTuple):
    """As a job shows it.

    Parameters:
      rows: of the file, below its header; None before it was looked at.
      rows_done: dealt with so far.
      percent: of the rows, rounded down: 100 means all of them.
      seconds_left: at the pace so far; None while there is none to go by, or when it ended before all was done.
    """

    rows: int | None
    rows_done: int
    percent: int | None
    seconds_left: int | None


def measure(rows: int | None, rows_done: int, seconds: float | None, *, finished: bool) -> ImportProgress:
    """The progress of a job that has been at work for so many seconds; None when it was not begun.

    What ended early, because it was cancelled for one, has no time left to wait for.
    """
    if rows is None:
        return ImportProgress(None, rows_done, None, None)
    done = min(rows_done, rows)
    percent = 100 if rows == 0 else done * 100 // rows
    left = rows - done
    if left == 0:
        return ImportProgress(rows, done, percent, 0)
    if finished or done == 0 or not seconds or seconds < 0:
        return ImportProgress(rows, done, percent, None)
    return ImportProgress(rows, done, percent, -(-int(seconds * left * 1_000 // done) // 1_000))
