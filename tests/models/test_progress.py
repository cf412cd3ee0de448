"""These rules merge the progress that the LMS reports; order, repeats and batches make no difference."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enrollment import (
    LARGEST_LEAD,
    KnownProgress,
    LearningEvent,
    fold_event,
    record_events,
)
from models.words import Code, Progress

NOT_STARTED, IN_PROGRESS, COMPLETED = Progress
NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)


def day(number: int) -> datetime:
    """Returns a day of March 2026."""
    return datetime(2026, 3, number, 12, 0, tzinfo=UTC)


BEGUN = KnownProgress(
    IN_PROGRESS, started_at=day(5), progress_at=day(5), score=40, scored_at=day(5), time_spent_seconds=600
)
DONE = KnownProgress(COMPLETED, day(3), day(8), day(9), score=90.5, scored_at=day(8), time_spent_seconds=7_200)


@pytest.mark.parametrize(
    ("known", "event", "changes"),
    [
        (KnownProgress(), LearningEvent(NOT_STARTED, day(2)), {"progress_at": day(2)}),
        (
            KnownProgress(),
            LearningEvent(IN_PROGRESS, day(2), 10, 60),
            {
                "progress": IN_PROGRESS,
                "started_at": day(2),
                "progress_at": day(2),
                "score": 10,
                "scored_at": day(2),
                "time_spent_seconds": 60,
                "timed_at": day(2),
            },
        ),
        # Completed without an earlier event: the training was started at that moment or earlier.
        (
            KnownProgress(),
            LearningEvent(COMPLETED, day(4)),
            {"progress": COMPLETED, "started_at": day(4), "completed_at": day(4), "progress_at": day(4)},
        ),
        (
            KnownProgress(),
            LearningEvent(COMPLETED, day(4), completed_at=day(3)),
            {"progress": COMPLETED, "started_at": day(3), "completed_at": day(3), "progress_at": day(4)},
        ),
        # Newer.
        (BEGUN, LearningEvent(IN_PROGRESS, day(6)), {"progress_at": day(6)}),
        (BEGUN, LearningEvent(IN_PROGRESS, day(6), 30), {"progress_at": day(6), "score": 30, "scored_at": day(6)}),
        (
            BEGUN,
            LearningEvent(IN_PROGRESS, day(6), None, 601),
            {"progress_at": day(6), "time_spent_seconds": 601, "timed_at": day(6)},
        ),
        # A total that was too high is lowered by a newer event, to nothing if it says so.
        (
            BEGUN,
            LearningEvent(IN_PROGRESS, day(6), None, 0),
            {"progress_at": day(6), "time_spent_seconds": 0, "timed_at": day(6)},
        ),
        (BEGUN, LearningEvent(NOT_STARTED, day(6)), {"progress_at": day(6)}),
        (
            BEGUN,
            LearningEvent(COMPLETED, day(6)),
            {"progress": COMPLETED, "completed_at": day(6), "progress_at": day(6)},
        ),
        (DONE, LearningEvent(IN_PROGRESS, day(10)), {"progress_at": day(10)}),
        (DONE, LearningEvent(COMPLETED, day(10), 20), {"progress_at": day(10), "score": 20, "scored_at": day(10)}),
        # Late: it may only add an earlier start or completion, or a fact that no event has given since.
        (BEGUN, LearningEvent(IN_PROGRESS, day(4), 99, 10), {"started_at": day(4)}),
        (
            BEGUN,
            LearningEvent(COMPLETED, day(4)),
            {"progress": COMPLETED, "started_at": day(4), "completed_at": day(4)},
        ),
        (DONE, LearningEvent(COMPLETED, day(7)), {"completed_at": day(7)}),
        (DONE, LearningEvent(IN_PROGRESS, day(4), 10, 7_000), {}),
        (
            BEGUN._replace(score=None, scored_at=None),
            LearningEvent(IN_PROGRESS, day(5) - timedelta(hours=1), 55),
            {"started_at": day(5) - timedelta(hours=1), "score": 55, "scored_at": day(5) - timedelta(hours=1)},
        ),
        # A late event may carry a score that is newer than the known score.
        (
            BEGUN._replace(progress_at=day(9)),
            LearningEvent(IN_PROGRESS, day(7), 70),
            {"score": 70, "scored_at": day(7)},
        ),
        # At the same moment: the better score.
        (BEGUN, LearningEvent(IN_PROGRESS, day(5), 39.5), {}),
        (BEGUN, LearningEvent(IN_PROGRESS, day(5), 40.5), {"score": 40.5}),
        # At the same moment: the longer time.
        (BEGUN, LearningEvent(IN_PROGRESS, day(5), None, 599), {}),
        (BEGUN, LearningEvent(IN_PROGRESS, day(5), None, 601), {"time_spent_seconds": 601, "timed_at": day(5)}),
        # A late event may carry a time that is newer than the known time.
        (
            BEGUN._replace(timed_at=day(5), progress_at=day(9)),
            LearningEvent(IN_PROGRESS, day(7), None, 60),
            {"time_spent_seconds": 60, "timed_at": day(7)},
        ),
        (BEGUN, LearningEvent(NOT_STARTED, day(1)), {}),
    ],
)
def test_one_learning_event(known: KnownProgress, event: LearningEvent, changes: dict[str, Any]) -> None:
    expected = known._replace(**changes)
    assert fold_event(known, event) == expected
    code = Code.RECORDED if changes else Code.UNCHANGED
    assert record_events(known, [event], NOW) == (expected, [code])
    assert record_events(expected, [event], NOW) == (expected, [Code.UNCHANGED])


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (LearningEvent(IN_PROGRESS, NOW + LARGEST_LEAD), Code.RECORDED),
        (LearningEvent(IN_PROGRESS, NOW + LARGEST_LEAD + timedelta(microseconds=1)), Code.INVALID_REQUEST),
        (LearningEvent(COMPLETED, NOW, completed_at=NOW + timedelta(days=400)), Code.INVALID_REQUEST),
    ],
)
def test_an_event_from_the_future_is_refused(event: LearningEvent, code: Code) -> None:
    known, codes = record_events(BEGUN, [event, LearningEvent(IN_PROGRESS, day(6), 77)], NOW)
    assert codes == [code, Code.RECORDED]
    assert known.score == 77


@pytest.mark.parametrize(
    ("known", "event", "enrolled_at", "code"),
    [
        # Began on day 5: a day later at most a day was spent, and a minute more for rounding.
        (BEGUN, LearningEvent(IN_PROGRESS, day(6), None, 86_400 + 660), day(5), Code.RECORDED),
        (BEGUN, LearningEvent(IN_PROGRESS, day(6), None, 86_400 + 661), day(5), Code.IMPLAUSIBLE_TIME),
        (BEGUN, LearningEvent(COMPLETED, day(6), 90, 10**9), day(5), Code.IMPLAUSIBLE_TIME),
        # Enrolled earlier: the LMS may report the first time with the first event.
        (KnownProgress(), LearningEvent(IN_PROGRESS, day(6), None, 86_400), day(5), Code.RECORDED),
        (KnownProgress(), LearningEvent(IN_PROGRESS, day(6), None, 86_461), day(5), Code.IMPLAUSIBLE_TIME),
        # Nothing is known of the time before the enrollment.
        (KnownProgress(), LearningEvent(IN_PROGRESS, day(4), None, 10**6), day(5), Code.RECORDED),
        (KnownProgress(), LearningEvent(IN_PROGRESS, day(4), None, 10**6), None, Code.RECORDED),
        (KnownProgress(), LearningEvent(COMPLETED, day(6), 90, 10**6, day(4)), day(5), Code.RECORDED),
        (KnownProgress(), LearningEvent(COMPLETED, day(8), 90, 10**6, day(6)), day(5), Code.IMPLAUSIBLE_TIME),
        # A total that was known grows by what has passed since.
        (
            KnownProgress(IN_PROGRESS, day(5), None, day(5), time_spent_seconds=10**6, timed_at=day(5)),
            LearningEvent(IN_PROGRESS, day(6), None, 10**6 + 86_400),
            day(9),
            Code.RECORDED,
        ),
        (BEGUN, LearningEvent(IN_PROGRESS, day(6), 77), day(5), Code.RECORDED),
    ],
)
def test_no_more_time_is_spent_than_has_passed(
    known: KnownProgress, event: LearningEvent, enrolled_at: datetime | None, code: Code
) -> None:
    after, codes = record_events(known, [event, LearningEvent(IN_PROGRESS, day(7), 1)], NOW, enrolled_at)
    assert codes == [code, Code.RECORDED]
    assert (after.time_spent_seconds == event.time_spent_seconds) is (
        code is Code.RECORDED and event.time_spent_seconds is not None
    )


MOMENTS = st.integers(1, 12).map(day)
TOLD = {"occurred_at": MOMENTS, "score": st.none() | st.integers(0, 100), "time_spent_seconds": st.integers(0, 999)}
EVENTS = st.lists(
    st.builds(LearningEvent, progress=st.sampled_from([NOT_STARTED, IN_PROGRESS]), completed_at=st.none(), **TOLD)
    | st.builds(LearningEvent, progress=st.just(COMPLETED), completed_at=st.none() | MOMENTS, **TOLD),
    max_size=8,
)


@given(events=EVENTS, seed=st.integers(), cut=st.integers(0, 8))
def test_order_repeats_and_batches_make_no_difference(events: list[LearningEvent], seed: int, cut: int) -> None:
    known, _ = record_events(KnownProgress(), events, NOW)
    shuffled = events + events[:cut]
    Random(seed).shuffle(shuffled)
    first, _ = record_events(KnownProgress(), shuffled[:cut], NOW)
    assert record_events(first, shuffled[cut:], NOW)[0] == known
    assert record_events(known, events, NOW) == (known, [Code.UNCHANGED] * len(events))


@given(events=EVENTS)
def test_known_progress_never_goes_back(events: list[LearningEvent]) -> None:
    known = KnownProgress()
    for event in events:
        before, known = known, fold_event(known, event)
        assert list(Progress).index(known.progress) >= list(Progress).index(before.progress)
        assert before.completed_at is None or (known.completed_at or NOW) <= before.completed_at
        assert known.completed_at is None or (known.started_at or NOW) <= known.completed_at
        assert (known.completed_at is not None) is (known.progress is COMPLETED)
