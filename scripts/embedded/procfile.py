"""Runs the processes of a Procfile and restarts those that die."""

import contextlib
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TextIO

from scripts.embedded import guard, processes

RELEASE = "release"
LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(\S.*)")
FIRST_DELAY, LONGEST_DELAY = 0.2, 10.0
STEADY_SECONDS = 20.0
GRACE_SECONDS = 20.0
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class InvalidProcfile(Exception):
    """The Procfile or the formation cannot be understood; the error names the line or the process."""


class ReleaseFailed(Exception):
    """The release line ended with an error, so nothing else was started."""


@dataclass(frozen=True)
class ProcfileLine:
    """One process type: a name and one command, in which the shell replaces variables."""

    name: str
    command: str


def parse_procfile(text: str) -> list[ProcfileLine]:
    """Returns the lines in their order, without blank lines and `#` comments.

    Raises:
      InvalidProcfile: a line is not `name: command`, or a name comes twice.
    """
    lines: list[ProcfileLine] = []
    for number, row in enumerate(text.splitlines(), start=1):
        if not row.strip() or row.lstrip().startswith("#"):
            continue
        found = LINE.fullmatch(row.strip())
        if found is None:
            raise InvalidProcfile(f"Procfile line {number}: expected `name: command`")
        if any(line.name == found[1] for line in lines):
            raise InvalidProcfile(f"Procfile line {number}: {found[1]} is there twice")
        lines.append(ProcfileLine(found[1], found[2]))
    return lines


def parse_formation(text: str) -> dict[str, int]:
    """Reads how many of each process run (`clock=2,web=0`); a process that is not named runs once.

    Raises:
      InvalidProcfile: an item is not `name=number`.
    """
    formation: dict[str, int] = {}
    for item in filter(None, text.replace(" ", "").split(",")):
        name, _, count = item.partition("=")
        if not count.isdigit():
            raise InvalidProcfile(f"formation {item!r}: expected `name=number`")
        formation[name] = int(count)
    return formation


def restart_delay(deaths: int, chance: float) -> float:
    """Returns the seconds to wait after the nth death in a row: 0.2 s, doubled up to 10 s, half of it random.

    Parameters:
      deaths: 1 for the first.
      chance: a random number from 0 to 1, so that processes which died together do not restart together.
    """
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(deaths, 30))
    return max(FIRST_DELAY, longest * (0.5 + chance / 2))


class Child:
    """One running instance of a line; its own thread starts it again whenever it dies."""

    def __init__(
        self, title: str, line: ProcfileLine, printer: "Printer", environment: Mapping[str, str], folder: Path
    ):
        self.title = title
        self._line, self._printer = line, printer
        self._environment, self._folder = environment, folder
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep_alive, name=title, daemon=True)

    @property
    def pid(self) -> int | None:
        """The pid of the process; None while it is not running."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    @property
    def started(self) -> bool:
        """Tells whether `start` was called."""
        return self._thread.ident is not None

    def start(self) -> None:
        """Starts the process and keeps it running."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Sends SIGTERM to the process alone and ends the restarts.

        Its group gets no signal: the dramatiq master forwards the signal, and a dramatiq process that receives a second
        SIGTERM gives up its work at once.
        """
        with self._lock:
            self._stopping.set()
            if self.pid is not None:
                self._printer.tell(self.title, "stopping")
                guard.send(self.pid, signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Waits until the deadline (monotonic seconds), then kills the whole group."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        pid = self.pid
        if self._thread.is_alive() and pid is not None:
            self._printer.tell(self.title, "did not stop in time: killed")
            guard.send(pid, signal.SIGKILL, group=True)
        self._thread.join()

    def _keep_alive(self) -> None:
        deaths = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            status = self._run()
            if self._stopping.is_set():
                break
            deaths = 1 if time.monotonic() - began > STEADY_SECONDS else deaths + 1
            delay = restart_delay(deaths, random.random())
            self._printer.tell(self.title, f"{ending(status)}; starts again in {delay:.1f} s")
            self._stopping.wait(delay)
        self._printer.tell(self.title, "stopped")

    def _run(self) -> int:
        """Runs the process once to its end, then ends the rest of its group."""
        with self._lock:
            if self._stopping.is_set():
                return 0
            process = self._process = start_line(self._line, self._environment, self._folder)
        reader = self._printer.follow(self.title, process)
        status = processes.reap(process)
        guard.send(process.pid, signal.SIGKILL, group=True)
        reader.join(timeout=5)
        return status


class Printer:
    """Writes the lines of all processes to one stream, each behind the padded name of its process."""

    def __init__(self, output: TextIO, titles: Sequence[str]) -> None:
        self._output = output
        self._width = max(map(len, titles), default=0)
        self._colours = dict(zip(titles, cycle(COLOURS), strict=False)) if output.isatty() else {}
        self._lock = threading.Lock()

    def tell(self, title: str, text: str) -> None:
        """Writes one line of a process."""
        name = f"{title:<{self._width}} |"
        if title in self._colours:
            name = f"\x1b[{self._colours[title]}m{name}\x1b[0m"
        self.say(f"{name} {text}")

    def say(self, text: str) -> None:
        """Writes a line without a process name; unlike `print`, the line is never split by the line of a process."""
        # A closed terminal must not end the threads that keep the processes running.
        with self._lock, contextlib.suppress(OSError):
            self._output.write(f"{text}\n")
            self._output.flush()

    def follow(self, title: str, process: subprocess.Popen[bytes]) -> threading.Thread:
        """Copies the output of a process until every process that holds it has ended."""
        thread = threading.Thread(target=self._copy, args=(title, process), daemon=True)
        thread.start()
        return thread

    def _copy(self, title: str, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is not None:
            with process.stdout as stream:
                for row in stream:
                    self.tell(title, row.decode(errors="replace").rstrip("\r\n"))


def start_line(line: ProcfileLine, environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Starts the command of a line. With `exec env` the process is the command itself, not a shell around it."""
    command = ["/bin/sh", "-c", f"exec env {line.command}"]
    return processes.spawn(command, stop=signal.SIGTERM, output=subprocess.PIPE, environment=environment, folder=folder)


def ending(status: int) -> str:
    """Describes in words how a process ended."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


class Supervisor:
    """Runs the lines of a Procfile: `release` first, then the others in their order, until `stop`.

    Parameters:
      lines: the result of :func:`parse_procfile`.
      environment: the whole environment of the processes.
      formation: the number of each process by name; 1 if not given.
      folder: the working folder of the processes.
      output: the stream for their lines; coloured when it is a terminal.
      grace: seconds from the first SIGTERM to SIGKILL, for all together.

    Raises:
      InvalidProcfile: the formation names an unknown process.
    """

    def __init__(
        self,
        lines: Sequence[ProcfileLine],
        *,
        environment: Mapping[str, str],
        formation: Mapping[str, int] | None = None,
        folder: Path | str = ".",
        output: TextIO = sys.stdout,
        grace: float = GRACE_SECONDS,
    ) -> None:
        self._lines, self._formation = lines, formation or {}
        self._environment, self._folder = dict(environment), Path(folder).absolute()
        self._grace = grace
        unknown = set(self._formation) - {line.name for line in lines}
        if unknown:
            raise InvalidProcfile(f"the formation names {', '.join(sorted(unknown))}, which the Procfile does not have")
        titled = list(self._titled())
        self._printer = Printer(output, [RELEASE, *(title for title, _ in titled)])
        self._children = [Child(title, line, self._printer, self._environment, self._folder) for title, line in titled]

    def start(self, released: Callable[[], None] | None = None) -> None:
        """Runs the release line to its end, then starts the others and returns at once.

        Parameters:
          released: is called once the release line has ended, before anything else is started.

        Raises:
          ReleaseFailed: it ended with an error; nothing else was started.
        """
        processes.watch()  # before the threads of the children, each of which would start a guard
        for line in self._lines:
            if line.name == RELEASE:
                self._release(line)
        if released is not None:
            released()
        for child in self._children:
            child.start()

    def stop(self) -> None:
        """Stops all processes in reverse order; returns when none runs."""
        started = [child for child in self._children if child.started]
        for child in reversed(started):
            child.ask_to_stop()
        deadline = time.monotonic() + self._grace
        for child in reversed(started):
            child.wait(deadline)

    def say(self, text: str) -> None:
        """Writes a whole line between those of the processes."""
        self._printer.say(text)

    def pids(self) -> dict[str, int]:
        """The pid of each process that runs now, by title: `web`, or `clock.1` and `clock.2` for two."""
        return {child.title: child.pid for child in self._children if child.pid is not None}

    def _titled(self) -> Iterator[tuple[str, ProcfileLine]]:
        for line in self._lines:
            if line.name == RELEASE:
                continue
            count = self._formation.get(line.name, 1)
            for number in range(1, count + 1):
                yield (line.name if count == 1 else f"{line.name}.{number}"), line

    def _release(self, line: ProcfileLine) -> None:
        process = start_line(line, self._environment, self._folder)
        reader = self._printer.follow(RELEASE, process)
        try:
            status = processes.reap(process)
        except BaseException:  # Ctrl-C, or a time limit of our caller
            processes.end(process, ((signal.SIGTERM, self._grace),))
            raise
        reader.join(timeout=5)
        if status != 0:
            raise ReleaseFailed(f"release {ending(status)}: nothing was started ({line.command})")
