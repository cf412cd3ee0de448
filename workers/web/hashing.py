"""Finds the place of a request among those that hash a password."""

from anyio import CapacityLimiter
from starlette.requests import Request

from workers.access.hashing import free_place


def hashing_place(request: Request) -> CapacityLimiter | None:
    """Returns the limiter for ``to_thread.run_sync``, or None while too many requests wait."""
    return free_place(request.app.state.hashing)
