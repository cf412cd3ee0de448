"""What becomes of an enrollment whose person says "this is not me"."""

from datetime import UTC, datetime

import pytest

from models.detachment import DETACHING, AttachedEnrollment, DetachmentStep, decide
from models.words import Progress

THEN = datetime(2026, 2, 1, 8, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
FRESH, BEGUN, DONE = Progress.NOT_STARTED, Progress.IN_PROGRESS, Progress.COMPLETED


@pytest.mark.parametrize(
    ("standing", "step"),
    [
        (AttachedEnrollment(FRESH, None, None), DetachmentStep.GIVE_SEAT_BACK),
        (AttachedEnrollment(BEGUN, None, None), DetachmentStep.KEEP_SEAT),
        (AttachedEnrollment(DONE, None, None), DetachmentStep.KEEP_SEAT),
        (AttachedEnrollment(FRESH, THEN, None), DetachmentStep.NOTHING_LEFT),
        (AttachedEnrollment(FRESH, THEN, THEN), DetachmentStep.DONE_BEFORE),
        (AttachedEnrollment(BEGUN, None, THEN), DetachmentStep.DONE_BEFORE),
        (AttachedEnrollment(BEGUN, LATER, THEN), DetachmentStep.DONE_BEFORE),
        (None, DetachmentStep.NOTHING_LEFT),
    ],
)
def test_steps(standing: AttachedEnrollment | None, step: DetachmentStep) -> None:
    assert decide(standing) is step


@pytest.mark.parametrize("progress", Progress)
def test_nothing_is_detached_twice(progress: Progress) -> None:
    assert decide(AttachedEnrollment(progress, None, None)) in DETACHING
    for withdrawn_at in (None, THEN):
        assert decide(AttachedEnrollment(progress, withdrawn_at, THEN)) not in DETACHING
