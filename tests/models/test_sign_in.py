"""How long wrong passwords close an address or an account."""

import pytest

from models.sign_in import FREE_TRIES, WAITS, lock_seconds


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (1, 0), (4, 0), (5, 60), (6, 300), (7, 900), (8, 3_600), (9, 3_600), (1_000_000, 3_600)],
)
def test_each_failure_beyond_the_free_ones_closes_for_longer(failures: int, seconds: int) -> None:
    assert lock_seconds(failures) == seconds


def test_a_hundred_tries_take_days() -> None:
    """NIST SP 800-63B-4, 3.2.2: at most a hundred in a row; at this pace that is noticed long before."""
    assert sum(lock_seconds(failures) for failures in range(100)) > 3 * 24 * 3_600
    assert list(WAITS) == sorted(WAITS)
    assert FREE_TRIES < 10
