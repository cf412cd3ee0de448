"""When failed work is tried again: pure values, one policy per kind."""

from dataclasses import dataclass
from typing import Final

_MOST_DOUBLINGS: Final = 64  # longer than any pause by then; a thousand would overflow a float


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how long between.

    Parameters:
      max_attempts: failures after which the work is dead.
      first_seconds: the pause after the first failure; each further one doubles it.
      longest_seconds: the longest pause.
    """

    max_attempts: int = 8
    first_seconds: float = 2.0
    longest_seconds: float = 3_600.0

    def seconds_after(self, failures: int, jitter: float) -> float | None:
        """The pause before the next attempt, or None when there is none.

        Parameters:
          failures: failures so far, this one included (1 or more).
          jitter: in [0, 1): spreads the pause over half to one and a half times its length, so that what failed
            together does not come back together.
        """
        if failures >= self.max_attempts:
            return None
        doublings = min(failures - 1, _MOST_DOUBLINGS)
        return min(self.first_seconds * 2.0**doublings, self.longest_seconds) * (0.5 + jitter)


DEFAULT: Final = RetryPolicy()
MAINTENANCE: Final = RetryPolicy(max_attempts=3, first_seconds=60.0)

POLICIES: Final = {"reconcile_seats": MAINTENANCE, "purge": MAINTENANCE, "apply_corrections": MAINTENANCE}


def policy_for(kind: str) -> RetryPolicy:
    """The retry policy of a kind of work."""
    return POLICIES.get(kind, DEFAULT)


def postpone_seconds(seconds: float, jitter: float) -> float:
    """How long work waits whose surroundings failed (database, lock, relay): jittered, burns no attempt."""
    return seconds * (0.5 + jitter)
