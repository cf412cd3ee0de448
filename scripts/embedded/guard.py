"""Stops the child processes of a process that dies without stopping them, even by SIGKILL.

A small separate process reads a pipe that only its parent writes to. The parent writes `+ pid signal` when it starts a
child and `- pid` when that child has ended. When the pipe closes, for any reason, the guard sends each remaining child
its own stop signal, waits, then kills its whole group.

`prctl(PR_SET_PDEATHSIG)` is no alternative: it exists on Linux only, fires when the *thread* that started the child
ends, and needs code between fork and exec. A pipe closes in the same way everywhere. If the guard dies together with a
child, the next start finds that child by its pid file. This file imports no module of Matricule because it is run by
its path.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE_SECONDS = 10.0


def watch(orders: Iterable[str]) -> dict[int, int]:
    """Reads orders until the pipe closes; returns the stop signal of each remaining process."""
    left: dict[int, int] = {}
    for order in orders:
        match order.split():
            case ["+", pid, stop]:
                left[int(pid)] = int(stop)
            case ["-", pid]:
                left.pop(int(pid), None)
    return left


def send(pid: int, number: int, *, group: bool = False) -> bool:
    """Sends a signal to a process or to its group; returns False when that process does not exist."""
    try:
        if group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        return False
    return True


def finish(left: dict[int, int]) -> None:
    """Asks the processes to stop, newest first; after ten seconds kills the groups of those that still run."""
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
