"""Lets this process take nothing new, finish what it holds, and say so, as long as an operator wants it.

The order stands in the row of the process, and each heartbeat brings it: no process is sent a signal, and one that is
started anew has none.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from workers.engine.stopping import DRAINING, STOPPING
from workers.logs import get_logger

log = get_logger()


class DrainOrder(NamedTuple):
    """The order of an operator for this process.

    Parameters:
      asked: it is to take nothing new.
      drained: it has said that it holds nothing any more.
      stop: it is to end then.
    """

    asked: bool
    drained: bool
    stop: bool


def stop_this_process() -> None:
    """Asks this process to stop as its supervisor would: the master of a dramatiq process, else the process itself.

    A dramatiq process that ended alone would look to its master like one that crashed.
    """
    master = multiprocessing.parent_process()
    os.kill(os.getpid() if master is None or master.pid is None else master.pid, signal.SIGTERM)


class Drain:
    """The drain of this process.

    Parameters:
      holds: tells whether the process holds work, or may still take some, given the moment (by the monotonic clock)
        since which it should not.
      changed: called when the process begins or ends to take nothing new.
      stop: stops the process.
    """

    def __init__(
        self,
        holds: Callable[[float], bool] = lambda _: False,
        *,
        changed: Callable[[], object] = lambda: None,
        stop: Callable[[], None] = stop_this_process,
    ) -> None:
        self._holds = holds
        self._changed = changed
        self._stop = stop
        self._since = 0.0
        self._stops = False

    @property
    def is_over(self) -> bool:
        """Whether the process takes nothing new and holds nothing any more."""
        return DRAINING.is_set() and not self._holds(self._since)

    def follow(self, order: DrainOrder) -> None:
        """Does what the operator wants now."""
        if order.asked and not DRAINING.is_set():
            DRAINING.set()
            self._since = time.monotonic()  # after that: a reader that begins a turn behind it has seen the sign
            log.warning("process.drains")
            self._changed()
        elif not order.asked and DRAINING.is_set():
            DRAINING.clear()
            log.warning("process.drains_no_more")
            self._changed()
        if order.asked and order.drained and order.stop and not self._stops and not STOPPING.is_set():
            self._stops = True
            log.warning("process.drained_and_stops")
            self._stop()
