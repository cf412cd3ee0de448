"""Seats given back because nobody ever activated the account: when somebody is warned, and when the seat goes."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from models.words import Code

WARNED_BEFORE: Final = timedelta(days=7)
"""How long before its release a seat's holder is warned, at least."""

LEAST_RELEASE_DAYS: Final = 14
"""Days somebody has at least: a week until they are warned, and a week after."""

MOST_RELEASE_DAYS: Final = 3_650


class ReleaseStep(StrEnum):
    """What is to be done about a seat today."""

    NOTHING = "nothing"
    WARN = "warn"  # its holder is told from when on it is given back
    RELEASE = "release"


def released_from(enrolled_at: datetime, warned_at: datetime, after_days: int) -> datetime:
    """From when on a seat may be given back: `after_days` days of 24 hours after the enrollment, a week after the
    warning, whichever is later.
    """
    return max(enrolled_at + timedelta(days=after_days), warned_at + WARNED_BEFORE)


def expected_release(enrolled_at: datetime, warned_at: datetime | None, after_days: int, now: datetime) -> datetime:
    """What to tell somebody who is perhaps still to be warned: from when on their seat may be given back."""
    warned = warned_at or max(now, enrolled_at + timedelta(days=after_days) - WARNED_BEFORE)
    return released_from(enrolled_at, warned, after_days)


def release_step(
    enrolled_at: datetime, warned_at: datetime | None, after_days: int | None, now: datetime
) -> ReleaseStep:
    """What is to be done about the seat of somebody who never activated their account.

    Parameters:
      warned_at: when they were warned under the present option, None if they were not.
      after_days: the contract's option; None never gives a seat back.
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
    """Somebody whose seat is to be given back, as they stand while account and enrollment are held."""

    enrolled_at: datetime
    warned_at: datetime | None
    activated_at: datetime | None
    detached: bool


def keeps_seat(holder: SeatHolder, after_days: int | None, now: datetime, *, over: bool) -> Code | None:
    """Why somebody keeps a seat that was to be given back, or None when it goes.

    Parameters:
      after_days: the contract's option as it stands now; it may have been switched off or lengthened meanwhile.
      over: whether the contract is over: nobody else could have the seat.
    """
    if holder.activated_at is not None:
        return Code.ALREADY_ACTIVATED
    step = release_step(holder.enrolled_at, holder.warned_at, after_days, now)
    return Code.NOT_DUE if over or holder.detached or step is not ReleaseStep.RELEASE else None
