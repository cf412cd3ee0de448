"""Limits how many passwords this process hashes at once."""

from typing import Final

from anyio import CapacityLimiter
from starlette.requests import Request

HASHES_AT_ONCE: Final = 2
"""Passwords that one process hashes at the same time; each takes 64 MiB and a core."""

HASHES_WAITING: Final = 32
"""The most requests that wait to hash; further ones are asked to try again in a minute."""


def hashing_place(request: Request) -> CapacityLimiter | None:
    """Returns the limiter for ``to_thread.run_sync``, or None while too many requests wait."""
    hashing: CapacityLimiter = request.app.state.hashing
    return None if hashing.statistics().tasks_waiting >= HASHES_WAITING else hashing
