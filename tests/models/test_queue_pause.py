"""A table of ends of a pause: it has one to come, within a week."""

from datetime import UTC, datetime, timedelta

import pytest

from models.queue_pause import LONGEST_PAUSE, PauseRefusal, judge_end

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MOMENT = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("lasts", "refused"),
    [
        (-MOMENT, PauseRefusal.PAST_END),
        (timedelta(0), PauseRefusal.PAST_END),
        (MOMENT, None),
        (LONGEST_PAUSE, None),
        (LONGEST_PAUSE + MOMENT, PauseRefusal.TOO_LONG),
    ],
)
def test_a_pause_ends_later_than_now_and_within_a_week(lasts: timedelta, refused: PauseRefusal | None) -> None:
    assert judge_end(NOW, NOW + lasts) == refused
