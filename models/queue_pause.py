"""Operators pause a queue, or one lane of it, until a moment: what waits there is not claimed, what runs is finished.

A pause always has an end, so that none is forgotten. Rows of ended pauses are kept as history.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from models.base import Record, instant, new_id

LONGEST_PAUSE: Final = timedelta(days=7)
"""The longest time for which a queue is paused at once; an operator who needs more extends it."""


class QueuePause(Record, table=True):
    """A pause of a queue, or of one lane of it, that is in force until `until`."""

    __tablename__ = "queue_pause"
    __table_args__ = (Index(None, "queue", "until"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    queue: str
    lane: UUID | None = None  # None: the whole queue
    portal: str | None = None  # the portal and the reference by which an operator named the lane
    reference: str | None = None
    reason: str
    paused_by: str
    since: datetime = instant(default_now=True)
    until: datetime = instant()


class PauseRefusal(StrEnum):
    """The reason why a queue is not paused, or does not go on."""

    UNKNOWN_QUEUE = "unknown_queue"
    NO_LANES = "no_lanes"  # its lanes have no name that an operator knows
    UNKNOWN_LANE = "unknown_lane"
    PAST_END = "past_end"
    TOO_LONG = "too_long"
    NOT_PAUSED = "not_paused"


def judge_end(now: datetime, until: datetime) -> PauseRefusal | None:
    """Refuses a pause that would end before it begins, or that would last too long."""
    if until <= now:
        return PauseRefusal.PAST_END
    return PauseRefusal.TOO_LONG if until - now > LONGEST_PAUSE else None
