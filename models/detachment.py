"""Somebody says "this is not me": the rule that says what becomes of their enrollment."""

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from models.words import Progress


class DetachmentStep(StrEnum):
    """What a detachment comes to."""

    GIVE_SEAT_BACK = "give_seat_back"  # the training is not begun: as if the person had been withdrawn
    KEEP_SEAT = "keep_seat"  # begun: the person is detached, the seat stays used
    NOTHING_LEFT = "nothing_left"  # withdrawn meanwhile, or no longer known
    DONE_BEFORE = "done_before"  # said before


DETACHING: Final = frozenset({DetachmentStep.GIVE_SEAT_BACK, DetachmentStep.KEEP_SEAT})
"""Steps that change something."""


class AttachedEnrollment(NamedTuple):
    """An enrollment as it stands while its row is held."""

    progress: Progress
    withdrawn_at: datetime | None
    detached_at: datetime | None


def decide(standing: AttachedEnrollment | None) -> DetachmentStep:
    """What to do when the holder of the account says that the enrollment is not theirs.

    Seats follow the managers' guide (*retirer*): one comes back only from somebody who has not begun, whoever asks. A
    person who is not on the contract any more has nothing to be detached from.
    """
    if standing is None:
        return DetachmentStep.NOTHING_LEFT
    if standing.detached_at is not None:
        return DetachmentStep.DONE_BEFORE
    if standing.withdrawn_at is not None:
        return DetachmentStep.NOTHING_LEFT
    return DetachmentStep.GIVE_SEAT_BACK if standing.progress is Progress.NOT_STARTED else DetachmentStep.KEEP_SEAT
