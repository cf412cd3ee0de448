"""Rules of actions of operators: how many rows come next, what the first rows say, when a reason is needed."""

import pytest

from models.ops_action import PART, judge_canary, needs_reason, next_part


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


def test_ten_rows_need_a_reason() -> None:
    assert [needs_reason(9), needs_reason(10)] == [False, True]
