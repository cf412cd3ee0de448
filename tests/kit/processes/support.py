"""Most tests use these: processes, waiting on a condition, and plain queries."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from workers import database
from workers.engine import broker
from workers.ops import redis_condition
from workers.outbox import mails
from workers.portals.keys import HTTP_KEYS, QUEUE_KEYS
from workers.portals.limits import LIMITS
from workers.portals.secrets import master_secrets
from workers.portals.use import USE
from workers.security import keys
from workers.settings import get_settings
from workers.webhooks.guard import private_networks

PROJECT = Path(__file__).parents[3]


def forget() -> None:
    """Drops the cached settings and the open connections of this process."""
    database.dispose_engine()
    broker.forget_wake_broker()
    get_settings.cache_clear()
    keys.signing_keys.cache_clear()
    master_secrets.cache_clear()
    private_networks.cache_clear()
    HTTP_KEYS.forget()
    QUEUE_KEYS.forget()
    LIMITS.close()
    USE.forget()
    mails.message_id_domain.cache_clear()
    redis_condition.forget_clients()


@dataclass
class Processes:
    """Starts processes of Matricule for one test and stops those that still run at its end."""

    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a command with this virtual environment in its own process group; its output goes to a file."""
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
        """Sends SIGKILL to the process and to every process it started."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def logs(self) -> str:
        """Returns everything the processes have printed so far."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def stop_all(self) -> None:
        """Kills all processes at once, because an orderly stop takes seconds; under coverage they stop to write it."""
        covered = "COVERAGE_PROCESS_CONFIG" in os.environ
        for process in self.started:
            if covered and process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10 if covered else 0)
            self.kill(process)


def wait_until(condition: Callable[[], object], *, seconds: float = 30.0, say: Callable[[], str] = str) -> None:
    """Waits until the condition is true; fails the test with the text of `say` when the time is over."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {say()}"
        pause.wait(0.02)


def change(statement: str, **parameters: object) -> None:
    """Runs a statement in its own transaction."""
    with database.transaction() as opened:
        opened.execute(text(statement), parameters)


def rows(statement: str, **parameters: object) -> list[tuple[object, ...]]:
    """Runs a query in its own transaction and returns its rows."""
    with database.transaction() as opened:
        return [tuple(row) for row in opened.execute(text(statement), parameters)]
