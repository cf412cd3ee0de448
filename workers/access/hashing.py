"""Limits how many passwords one process hashes at once, for its pages and its API together."""

from typing import Final

from anyio import CapacityLimiter

HASHES_AT_ONCE: Final = 2
"""Passwords that one process hashes at the same time; each takes 64 MiB and a core."""

HASHES_WAITING: Final = 32
"""The most requests that wait to hash; further ones are asked to try again in a minute."""


def free_place(hashing: CapacityLimiter) -> CapacityLimiter | None:
    """Returns the limiter for ``to_thread.run_sync``, or None while too many requests wait."""
    return None if hashing.statistics().tasks_waiting >= HASHES_WAITING else hashing
