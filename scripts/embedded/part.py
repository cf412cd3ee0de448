"""What the three embedded parts have in common: one process, that can be stopped, killed and started again."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from scripts.embedded import processes


class Part(ABC):
    """A server of one data folder, run as a child of this process."""

    stop_signals: ClassVar[Sequence[tuple[int, float]]]
    """The signals that stop it in order, each with the seconds it is given before the next, and SIGKILL last."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> None:
        """Starts it; returns when it answers. One left by a parent that was killed is stopped first.

        Raises:
          StartFailed: it ended, or did not answer in time; carries the end of its log.
        """

    def stop(self) -> None:
        """Stops it in order: what it holds is on disk."""
        if self._process is not None:
            processes.end(self._process, self.stop_signals)

    def kill(self) -> None:
        """SIGKILL to it and all its children at once, as a crash would."""
        if self._process is not None:
            processes.end(self._process, ())

    def restart(self) -> None:
        """Stops it if it runs, then starts it on the same data."""
        self.stop()
        self.start()

    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The pid of its process, None before the first start."""
        return self._process.pid if self._process else None
