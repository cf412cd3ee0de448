"""What tests share beside fixtures: processes, waiting on a condition, looking at rows."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from workers import database
from workers.actors import requests as accept
from workers.engine import broker
from workers.outbox import mails
from workers.security import keys
from workers.settings import get_settings

PROJECT = Path(__file__).parents[3]


def forget() -> None:
    """Drops what this process remembers of its settings and connections."""
    database.dispose_engine()
    broker.forget_wake_broker()
    get_settings.cache_clear()
    keys.signing_keys.cache_clear()
    accept.known_portal.cache_clear()
    mails.message_id_domain.cache_clear()


@dataclass
class Processes:
    """Starts processes of Matricule for one test and stops what is left of them afterwards."""

    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a command with this virtual environment, in a process group of its own; its output goes to a file."""
        log = self.folder / f"{len(self.started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=PROJECT,
                env=os.environ | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def worker(self, *queues: str, processes: int = 1, threads: int = 4, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a dramatiq process group on these queues."""
        sizes = ("--processes", str(processes), "--threads", str(threads))
        return self.start("dramatiq", "workers.main", *sizes, "--queues", *queues, **environment)

    def clock(self, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a clock."""
        return self.start("workers.cli", "clock", **environment)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to the process and everything it started."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def logs(self) -> str:
        """All that was printed so far."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def stop_all(self) -> None:
        """Asks everything to stop, and kills what does not within ten seconds."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill(process)


def wait_until(condition: Callable[[], object], *, seconds: float = 30.0, say: Callable[[], str] = str) -> None:
    """Returns when the condition is true; fails the test, with what `say` says, when it does not become so in time."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {say()}"
        pause.wait(0.02)


def change(statement: str, **parameters: object) -> None:
    """Does a statement that answers nothing, in a transaction of its own."""
    with database.transaction() as opened:
        opened.execute(text(statement), parameters)


def rows(statement: str, **parameters: object) -> list[tuple[object, ...]]:
    """What a query answers now, in a transaction of its own."""
    with database.transaction() as opened:
        return [tuple(row) for row in opened.execute(text(statement), parameters)]
