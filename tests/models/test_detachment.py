"""What becomes of an enrollment whose person says "this is not me"."""

from datetime import UTC, datetime

import pytest

from models.detachment import DETACHING, Standing, Step, decide
from models.words import Progress

THEN = datetime(2026, 2, 1, 8, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
FRESH, BEGUN, DONE = Progress.NOT_STARTED, Progress.IN_PROGRESS, Progress.COMPLETED


@pytest.mark.parametrize(
    ("standing", "step"),
    [
        (Standing(FRESH, None, None), Step.GIVE_SEAT_BACK),
        (Standing(BEGUN, None, None), Step.KEEP_SEAT),
        (Standing(DONE, None, None), Step.KEEP_SEAT),
        (Standing(FRESH, THEN, None), Step.NOTHING_LEFT),
        (Standing(FRESH, THEN, THEN), Step.DONE_BEFORE),
        (Standing(BEGUN, None, THEN), Step.DONE_BEFORE),
        (Standing(BEGUN, LATER, THEN), Step.DONE_BEFORE),
        (None, Step.NOTHING_LEFT),
    ],
)
def test_steps(standing: Standing | None, step: Step) -> None:
    assert decide(standing) is step


@pytest.mark.parametrize("progress", Progress)
def test_nothing_is_detached_twice(progress: Progress) -> None:
    assert decide(Standing(progress, None, None)) in DETACHING
    for withdrawn_at in (None, THEN):
        assert decide(Standing(progress, withdrawn_at, THEN)) not in DETACHING
