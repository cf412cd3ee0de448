"""When failed work is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.retry import DEFAULT, MAINTENANCE, RetryPolicy, policy_for, postpone_seconds


@pytest.mark.parametrize(
    ("policy", "failures", "expected"),
    [
        (DEFAULT, 1, 2.0),
        (DEFAULT, 2, 4.0),
        (DEFAULT, 7, 128.0),
        (DEFAULT, 8, None),
        (DEFAULT, 9, None),
        (DEFAULT, 10**9, None),
        (MAINTENANCE, 1, 60.0),
        (MAINTENANCE, 2, 120.0),
        (MAINTENANCE, 3, None),
        (RetryPolicy(max_attempts=1), 1, None),
        (RetryPolicy(max_attempts=100), 12, 3_600.0),
        (RetryPolicy(max_attempts=100), 99, 3_600.0),
        (RetryPolicy(max_attempts=10_000), 9_999, 3_600.0),
    ],
)
def test_the_pause_doubles_up_to_the_longest(policy: RetryPolicy, failures: int, expected: float | None) -> None:
    assert policy.seconds_after(failures, jitter=0.5) == expected


@given(st.integers(1, 20), st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_over_half_to_one_and_a_half(failures: int, jitter: float) -> None:
    policy = RetryPolicy(max_attempts=21)
    middle, pause = policy.seconds_after(failures, 0.5), policy.seconds_after(failures, jitter)
    assert middle is not None
    assert pause is not None
    assert middle * 0.5 <= pause <= middle * 1.5  # a jitter just under one rounds up


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("enroll", DEFAULT), ("reconcile_seats", MAINTENANCE), ("purge", MAINTENANCE), ("", DEFAULT), ("?", DEFAULT)],
)
def test_each_kind_has_a_policy(kind: str, expected: RetryPolicy) -> None:
    assert policy_for(kind) == expected


@pytest.mark.parametrize(("jitter", "expected"), [(0.0, 1.0), (0.5, 2.0), (0.999, 2.998)])
def test_a_postponement_is_spread_too(jitter: float, expected: float) -> None:
    assert postpone_seconds(2.0, jitter) == pytest.approx(expected)
