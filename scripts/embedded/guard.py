"""Stops what a process started when that process dies without having done so, even by SIGKILL.

A small process of its own reads a pipe that only its parent writes to. The parent says `+ pid signal` when it starts
something and `- pid` when that has ended. When the pipe closes, for whatever reason, the guard sends each process left
its own stop signal, waits, then kills its whole group.

Why not `prctl(PR_SET_PDEATHSIG)`: it exists on Linux only, fires when the *thread* that started the child ends, and
needs code between fork and exec. A pipe that closes is the same everywhere. What dies together with its guard is found
again at the next start by its pid file. This file imports nothing of ours: it is run by its path.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE_SECONDS = 10.0


def watch(orders: Iterable[str]) -> dict[int, int]:
    """Reads orders until the pipe closes; returns the stop signal of each process still there."""
    left: dict[int, int] = {}
    for order in orders:
        match order.split():
            case ["+", pid, stop]:
                left[int(pid)] = int(stop)
            case ["-", pid]:
                left.pop(int(pid), None)
    return left


def send(pid: int, number: int, *, group: bool = False) -> bool:
    """Sends a signal to a process or to its group; False when there is nothing there."""
    try:
        if group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        return False
    return True


def finish(left: dict[int, int]) -> None:
    """Asks the processes to stop, newest first, and kills the groups of those that have not after ten seconds."""
    for pid, stop in reversed(left.items()):
        send(pid, stop)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and any(send(pid, 0) for pid in left):
        time.sleep(0.05)
    for pid in left:
        send(pid, signal.SIGKILL, group=True)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    finish(watch(sys.stdin))
