"""Decides whether an expected file is missing: the rule behind the problem `file_missing`.

A file is expected at the times of a cron expression, read in Europe/Paris. A file that comes is taken for the time it
is nearest to: one that comes before its hour counts, and one that comes late does not stand for the next.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from cronsim import CronSim, CronSimError

from models.paris import PARIS
from models.words import Code

DEFAULT_GRACE: Final = timedelta(hours=1)
"""How long after its time a file may come before it is missing, where the inbox says nothing else."""

LONGEST_GRACE: Final = timedelta(days=7)

LONGEST_CRON: Final = 100
"""The most characters of a cron expression; five fields that list all their values have more, and none needs them."""

MOST_MISSED: Final = 100
"""Missing files of an inbox are counted to this number: a file each minute may be missing for years."""

_CRON_FIELDS: Final = 5
_SOME_MOMENT: Final = datetime(2026, 1, 1, tzinfo=PARIS)


class MissingFile(NamedTuple):
    """The time at which the first missing file was expected, and how many are missing (at most ``MOST_MISSED``)."""

    since: datetime
    missed: int


def clean_cron(written: str) -> str | Code:
    """Returns a cron expression of five fields with single spaces; refuses one without a time within fifty years."""
    fields = written.split()
    if len(fields) != _CRON_FIELDS or len(written) > LONGEST_CRON:
        return Code.INVALID_CRON
    cron = " ".join(fields)
    try:
        has_a_time = next(CronSim(cron, _SOME_MOMENT), None) is not None
    except CronSimError:
        return Code.INVALID_CRON
    return cron if has_a_time else Code.INVALID_CRON


def expected_times(cron: str, moment: datetime) -> Iterator[datetime]:
    """Yields the last time of a cron expression before a moment, if there is one, and all later ones, in UTC.

    A time that a change of the clocks skips is the first minute after the change; one that it repeats comes once.

    Raises: cronsim.CronSimError when the expression cannot be read.
    """
    there = moment.astimezone(PARIS)
    last = next(CronSim(cron, there, reverse=True), None)
    if last is not None:
        yield last.astimezone(UTC)
    yielded = moment.astimezone(UTC) if last is None else last.astimezone(UTC)
    for time in CronSim(cron, there if last is None else last):
        if time.astimezone(UTC) > yielded:
            yielded = time.astimezone(UTC)
            yield yielded


def find_missing_file(
    times: Iterable[datetime], *, since: datetime, arrived_at: datetime | None, grace: timedelta, now: datetime
) -> MissingFile | None:
    """Returns the files that are missing, or None when none is; it ends with the next file that comes.

    Parameters:
      times: when files are expected, in order, beginning before `since` and before the last file came.
      since: from when on files are expected.
      arrived_at: when the last file came.
      grace: how long after its time a file may come.
    """
    first, missed, before = None, 0, None
    for time in times:
        if time + grace > now or missed == MOST_MISSED:
            break
        if time > since and not _came(arrived_at, before, time):
            first, missed = first or time, missed + 1
        before = time
    return None if first is None else MissingFile(first, missed)


def _came(arrived_at: datetime | None, before: datetime | None, time: datetime) -> bool:
    """Tells whether a file came for this time, or for a later one: nearer to it than to the time before."""
    nearest_from = time if before is None else before + (time - before) / 2
    return arrived_at is not None and arrived_at >= nearest_from


__all__ = [
    "DEFAULT_GRACE",
    "LONGEST_CRON",
    "LONGEST_GRACE",
    "MOST_MISSED",
    "MissingFile",
    "clean_cron",
    "expected_times",
    "find_missing_file",
]
