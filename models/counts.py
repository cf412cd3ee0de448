"""Counts of the work that ended, by minute and by hour, and of what waited: the source of curves, rates and counters.

Rows of jobs and mails are purged; these counts are not lowered by that. The leading clock folds them from the ledger
(``workers/ops/folding.py``). They name no portal, no contract and no person.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, DateTime
from sqlmodel import Field

from models.base import Record, instant

BOUNDS: Final = (0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3_600.0)
"""The upper bounds, in seconds, of the bands in which durations are counted; a last band has none."""

BANDS: Final = len(BOUNDS) + 1


def _number() -> Any:
    return Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


def _bands() -> Any:
    """A column of the number of rows in each band of ``BOUNDS``."""
    return Field(sa_type=ARRAY(BigInteger), nullable=False)


def _key_moment() -> Any:
    return Field(primary_key=True, sa_type=DateTime(timezone=True))


class LedgerMinute(Record, table=True):
    """The jobs or mails of one kind that ended in one state within a minute, and how long they waited and took.

    A row that ended, was retried by ops and ended again counts twice, because it ended twice.
    """

    __tablename__ = "ledger_minute"

    ledger: str = Field(primary_key=True)  # `job` or `email`
    minute: datetime = _key_moment()
    queue: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    state: str = Field(primary_key=True)
    rows: int = _number()
    wait_ms: int = _number()  # from the moment it was recorded to its first claim, of all rows together
    run_ms: int = _number()  # from its first claim to its end
    took_ms: int = _number()  # from the request to the end; of a mail, from the request that owed it
    waited: Any = _bands()
    took: Any = _bands()


class LedgerHour(Record, table=True):
    """The same within an hour; kept longer than minutes."""

    __tablename__ = "ledger_hour"

    ledger: str = Field(primary_key=True)
    hour: datetime = _key_moment()
    queue: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    state: str = Field(primary_key=True)
    rows: int = _number()
    wait_ms: int = _number()
    run_ms: int = _number()
    took_ms: int = _number()
    waited: Any = _bands()
    took: Any = _bands()


class LedgerTotal(Record, table=True):
    """The jobs or mails of one kind that ever ended in one state: what only grows, for counters of metrics."""

    __tablename__ = "ledger_total"

    ledger: str = Field(primary_key=True)
    queue: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    state: str = Field(primary_key=True)
    rows: int = _number()
    took_ms: int = _number()
    took: Any = _bands()


class LedgerDepth(Record, table=True):
    """The work that was due on a queue at a moment of a minute, and that was recorded in it; no row if there was none.

    `waiting` is counted no further than the status counts.
    """

    __tablename__ = "ledger_depth"

    ledger: str = Field(primary_key=True)
    minute: datetime = _key_moment()
    queue: str = Field(primary_key=True)
    waiting: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    oldest_seconds: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    arrived: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class ReleaseRun(Record, table=True):
    """A release of Matricule, and when its processes were first and last seen: the marks of deployments."""

    __tablename__ = "release_run"

    release: str = Field(primary_key=True)
    first_seen_at: datetime = instant()
    last_seen_at: datetime = instant()


class StatusSnapshot(Record, table=True):
    """The one row that all readers of the status share: the state of Matricule as it was at a moment."""

    __tablename__ = "status_snapshot"

    name: str = Field(primary_key=True)
    taken_at: datetime = instant()
    form: str  # the release that wrote it: another one may write other facts
    facts: str  # JSON, as ``read_status`` returns it


def quantile(bands: Sequence[int], part: float) -> float | None:
    """Returns the seconds within which a part of all durations lay, estimated from their bands; None without any.

    Inside a band they are taken to lie evenly. Of the last band, which has no upper bound, the lower one is returned.

    Parameters:
      bands: the number of durations in each band of ``BOUNDS``.
      part: from 0 to 1, as 0.95.
    """
    total = sum(bands)
    if not total:
        return None
    wanted, below = part * total, 0
    for place, number in enumerate(bands):
        if number and below + number >= wanted:
            lower = BOUNDS[place - 1] if place else 0.0
            upper = BOUNDS[place] if place < len(BOUNDS) else lower
            return lower + (upper - lower) * max(wanted - below, 0.0) / number
        below += number
    return BOUNDS[-1]
