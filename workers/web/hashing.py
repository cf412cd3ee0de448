"""A place among the few passwords hashed at once by this process."""

from typing import Final

from anyio import CapacityLimiter
from starlette.requests import Request

HASHES_AT_ONCE: Final = 2
"""Passwords hashed at the same time by one process: 64 MiB and a core each."""

HASHES_WAITING: Final = 32
"""Beyond these, people are asked to come back in a minute rather than left waiting."""


def hashing_place(request: Request) -> CapacityLimiter | None:
    """What to give ``to_thread.run_sync`` as its limiter; None while too many wait already."""
    hashing: CapacityLimiter = request.app.state.hashing
    return None if hashing.statistics().tasks_waiting >= HASHES_WAITING else hashing
