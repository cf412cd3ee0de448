"""Rules of actions of operators: how many rows come next, what the first rows say, when a reason is needed."""

import pytest

from models.ops_action import LONGEST_PAUSE, MOST_FAILURES, PART, after_failure, judge_canary, needs_reason, next_part


@pytest.mark.parametrize(
    ("rate", "part"),
    [
        (None, (PART, 0.0)),
        (1, (1, 60.0)),
        (11, (1, 60.0 / 11)),
        (12, (1, 5.0)),
        (600, (50, 5.0)),
        (12_000, (1_000, 5.0)),
        (60_000, (1_000, 1.0)),
    ],
)
def test_a_part_and_its_pause_make_the_rate(rate: int | None, part: tuple[int, float]) -> None:
    assert next_part(rate) == part
    assert part[1] <= LONGEST_PAUSE


@pytest.mark.parametrize(
    ("waiting", "ill", "size", "verdict"),
    [
        (20, 0, 20, "wait"),
        (1, 9, 20, "wait"),
        (10, 10, 20, "stop"),
        (0, 10, 20, "stop"),
        (0, 9, 20, "go_on"),
        (0, 0, 20, "go_on"),
        (0, 1, 1, "stop"),
        (0, 0, 0, "go_on"),  # all of them were skipped
    ],
)
def test_the_first_rows_decide_about_the_others(waiting: int, ill: int, size: int, verdict: str) -> None:
    assert judge_canary(waiting=waiting, ill=ill, size=size) == verdict


def test_failures_in_a_row_are_counted_and_stop_an_action() -> None:
    note, notes = "waits for its first rows", []
    for _ in range(MOST_FAILURES):
        note, stops = after_failure(note, "KeyError", transient=False)
        notes.append((note, stops))
    assert notes[0] == ("failed 1 time: KeyError", False)
    assert notes[1] == ("failed 2 times: KeyError", False)
    assert [stops for _, stops in notes] == [False] * (MOST_FAILURES - 1) + [True]
    assert note == f"stopped: failed {MOST_FAILURES} times: KeyError"


def test_a_database_that_cannot_do_it_now_stops_no_action() -> None:
    before = f"failed {MOST_FAILURES - 1} times: KeyError"
    assert after_failure(before, "DeadlockDetected", transient=True) == (
        "waits for the database: DeadlockDetected",
        False,
    )


def test_ten_rows_need_a_reason() -> None:
    assert [needs_reason(9), needs_reason(10)] == [False, True]
