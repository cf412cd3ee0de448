"""These rules decide when failed work is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.job import DEFAULT_RETRIES, MAINTENANCE_RETRIES, RetryPolicy, postpone_seconds, retry_policy


@pytest.mark.parametrize(
    ("policy", "failures", "expected"),
    [
        (DEFAULT_RETRIES, 1, 2.0),
        (DEFAULT_RETRIES, 2, 4.0),
        (DEFAULT_RETRIES, 7, 128.0),
        (DEFAULT_RETRIES, 8, None),
        (DEFAULT_RETRIES, 9, None),
        (DEFAULT_RETRIES, 10**9, None),
        (MAINTENANCE_RETRIES, 1, 60.0),
        (MAINTENANCE_RETRIES, 2, 120.0),
        (MAINTENANCE_RETRIES, 3, None),
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
    assert middle * 0.5 <= pause <= middle * 1.5  # a jitter just under 1 may round up


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("enroll", DEFAULT_RETRIES),
        ("reconcile_seats", MAINTENANCE_RETRIES),
        ("purge", MAINTENANCE_RETRIES),
        ("", DEFAULT_RETRIES),
        ("?", DEFAULT_RETRIES),
    ],
)
def test_each_kind_has_a_policy(kind: str, expected: RetryPolicy) -> None:
    assert retry_policy(kind) == expected


@pytest.mark.parametrize(
    ("seconds", "postponements", "jitter", "expected"),
    [
        (2.0, 0, 0.0, 1.0),
        (2.0, 0, 0.5, 2.0),
        (2.0, 0, 0.999, 2.998),
        (0.5, 1, 0.5, 1.0),
        (0.5, 4, 0.5, 8.0),
        (0.5, 5, 0.5, 10.0),
        (0.5, 10**9, 0.5, 10.0),
        (30.0, 0, 0.5, 30.0),
        (30.0, 1, 0.5, 60.0),
        (30.0, 2, 0.5, 120.0),
        (30.0, 9, 0.5, 120.0),
    ],
)
def test_a_postponement_grows_to_a_bound(seconds: float, postponements: int, jitter: float, expected: float) -> None:
    assert postpone_seconds(seconds, postponements, jitter) == pytest.approx(expected)
