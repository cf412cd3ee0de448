"""Threads that do work give signs of life, so that one that hangs is told from one that is busy.

A thread gives a sign whenever it begins or ends a transaction, and when the database has answered a statement. Work
that is claimed renews its lease in one, so a thread without a sign for longer than a lease hangs, or holds what others
do meanwhile.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple


class WorkSign(NamedTuple):
    """The last sign of a thread: the work it does, and the moment, by the monotonic clock.

    Parameters:
      patience: seconds by which the moment lies ahead, because a step of the thread may take as long.
    """

    work: str
    at: float
    patience: float = 0.0


class WorkSigns:
    """The signs of the threads of this process that are at work."""

    def __init__(self) -> None:
        self._signs: dict[int, WorkSign] = {}
        self.heard_at = time.monotonic()
        """When the database last answered a statement over the pool of this process, by the monotonic clock."""

    @contextmanager
    def during(self, work: str) -> Iterator[None]:
        """Counts this thread as being at work for the block."""
        thread = threading.get_ident()
        before = self._signs.get(thread)
        self._signs[thread] = WorkSign(work, time.monotonic())
        try:
            yield
        finally:
            if before is None:
                del self._signs[thread]
            else:
                self._signs[thread] = before
                self._show(thread)

    def show(self) -> None:
        """Gives a sign of this thread, if it is at work."""
        self._show(threading.get_ident())

    def hear(self) -> None:
        """Notes that the database answered this thread, which is a sign of it."""
        self.heard_at = time.monotonic()
        self._show(threading.get_ident())

    @contextmanager
    def patiently(self, seconds: float) -> Iterator[Callable[[], None]]:
        """Allows this thread to give no sign for so long while it does the block, from each sign that it gives in it.

        Yields: a function by which another thread gives a sign of this one.
        """
        thread = threading.get_ident()
        before = self._set_patience(thread, seconds)
        try:
            yield lambda: self._show(thread)
        finally:
            self._set_patience(thread, before)

    def _set_patience(self, thread: int, seconds: float) -> float:
        """Sets the patience with a thread from now on; returns the one before."""
        sign = self._signs.get(thread)
        if sign is None:
            return 0.0
        self._signs[thread] = sign._replace(patience=seconds)
        self._show(thread)
        return sign.patience

    def _show(self, thread: int) -> None:
        if (sign := self._signs.get(thread)) is not None:
            self._signs[thread] = sign._replace(at=time.monotonic() + sign.patience)

    def oldest(self) -> WorkSign | None:
        """Returns the sign of the thread that has given none for longest; None when no thread is at work."""
        return min(list(self._signs.values()), key=lambda sign: sign.at, default=None)


SIGNS: Final = WorkSigns()
"""The signs of this process."""
