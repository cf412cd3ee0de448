"""The three embedded parts have this in common: one process that can be stopped, killed and started again."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from scripts.embedded import processes


class Part(ABC):
    """A server of one data folder, run as a child of this process."""

    stop_signals: ClassVar[Sequence[tuple[int, float]]]
    """The signals that stop it, each with the seconds to wait before the next one; SIGKILL comes last."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> None:
        """Stops a server left by a killed parent, starts this one, and returns when it answers.

        Raises:
          StartFailed: it ended, or did not answer in time; the error carries the end of its log.
        """

    def stop(self) -> None:
        """Stops it after it has written its data to disk."""
        if self._process is not None:
            processes.end(self._process, self.stop_signals)

    def kill(self) -> None:
        """Sends SIGKILL to it and to all its children at once, which simulates a crash."""
        if self._process is not None:
            processes.end(self._process, ())

    def restart(self) -> None:
        """Stops it if it runs, then starts it on the same data."""
        self.stop()
        self.start()

    def running(self) -> bool:
        """Tells whether its process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The pid of its process; None before the first start."""
        return self._process.pid if self._process else None
