"""The seat of an account that was never activated is released after a warning; these rules decide when."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from models.words import Code

WARNED_BEFORE: Final = timedelta(days=7)
"""The holder of a seat is warned at least this long before its release."""

WARNED_AGAIN: Final = timedelta(days=30)
"""A warning that was never sent is repeated after this time: until then its address or the relay may be mended."""

LEAST_RELEASE_DAYS: Final = 14
"""A holder has at least this many days: a week before the warning, and a week after it."""

MOST_RELEASE_DAYS: Final = 3_650


class ReleaseStep(StrEnum):
    """The step that is due for a seat today."""

    NOTHING = "nothing"
    WARN = "warn"  # tell its holder when it will be released
    RELEASE = "release"


def released_from(enrolled_at: datetime, warned_at: datetime, after_days: int) -> datetime:
    """Returns the earliest moment of a release: `after_days` days of 24 hours after the enrollment or a week after the
    warning, the later of the two.
    """
    return max(enrolled_at + timedelta(days=after_days), warned_at + WARNED_BEFORE)


def expected_release(enrolled_at: datetime, warned_at: datetime | None, after_days: int, now: datetime) -> datetime:
    """Returns the earliest moment of a release, also for a holder who is not warned yet; mails announce it."""
    warned = warned_at or max(now, enrolled_at + timedelta(days=after_days) - WARNED_BEFORE)
    return released_from(enrolled_at, warned, after_days)


def release_step(
    enrolled_at: datetime, warned_at: datetime | None, after_days: int | None, now: datetime
) -> ReleaseStep:
    """Decides the step that is due for the seat of an account that was never activated.

    Parameters:
      warned_at: when the holder was warned under the present option, or None.
      after_days: the contract's option; None means that no seat is released.
      now: the time of the transaction.
    """
    if after_days is None:
        return ReleaseStep.NOTHING
    if warned_at is None:
        due = now >= enrolled_at + timedelta(days=after_days) - WARNED_BEFORE
        return ReleaseStep.WARN if due else ReleaseStep.NOTHING
    due = now >= released_from(enrolled_at, warned_at, after_days)
    return ReleaseStep.RELEASE if due else ReleaseStep.NOTHING


class SeatHolder(NamedTuple):
    """The facts of the holder of a seat to be released, read while account and enrollment are locked."""

    enrolled_at: datetime
    warned_at: datetime | None
    activated_at: datetime | None
    detached: bool


def keeps_seat(holder: SeatHolder, after_days: int | None, now: datetime, *, over: bool) -> Code | None:
    """Returns the code that says why a person keeps their seat, or None when it is released.

    Parameters:
      after_days: the contract's present option, which may have been switched off or lengthened in the meantime.
      over: whether the contract is over, so that no other person could have the seat.
    """
    if holder.activated_at is not None:
        return Code.ALREADY_ACTIVATED
    step = release_step(holder.enrolled_at, holder.warned_at, after_days, now)
    return Code.NOT_DUE if over or holder.detached or step is not ReleaseStep.RELEASE else None
