"""Threads that do work give signs of life, so that one that hangs is told from one that is busy.

A thread gives a sign whenever it begins or ends a transaction. Work that is claimed renews its lease in one, so a
thread without a sign for longer than a lease hangs, or holds what others do meanwhile.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple


class WorkSign(NamedTuple):
    """The last sign of a thread: the work it does, and the moment, by the monotonic clock."""

    work: str
    at: float


class WorkSigns:
    """The signs of the threads of this process that are at work."""

    def __init__(self) -> None:
        self._signs: dict[int, WorkSign] = {}

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
                self._signs[thread] = WorkSign(before.work, time.monotonic())

    def show(self, *, ahead: float = 0.0) -> None:
        """Gives a sign of this thread, if it is at work.

        Parameters:
          ahead: seconds for which no further sign is due, because a step may take as long.
        """
        thread = threading.get_ident()
        if (sign := self._signs.get(thread)) is not None:
            self._signs[thread] = WorkSign(sign.work, time.monotonic() + ahead)

    @contextmanager
    def patiently(self, seconds: float) -> Iterator[None]:
        """Allows this thread to give no sign for so long while it does the block."""
        self.show(ahead=seconds)
        try:
            yield
        finally:
            self.show()

    def oldest(self) -> WorkSign | None:
        """Returns the sign of the thread that has given none for longest; None when no thread is at work."""
        return min(list(self._signs.values()), key=lambda sign: sign.at, default=None)


SIGNS: Final = WorkSigns()
"""The signs of this process."""
