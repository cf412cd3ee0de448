"""The measured system: durable PostgreSQL and Valkey in a temporary folder, and real processes on them.

PostgreSQL syncs every commit and keeps commit times; Valkey writes its append-only file each second.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
import redis

from scripts.embedded import processes
from scripts.embedded.places import SHORT_ROOT, places
from scripts.embedded.postgres import DATABASE, Postgres
from scripts.embedded.valkey import Valkey
from tests.benchmarks.usage import Meter
from tests.kit.processes.support import PROJECT, forget, rows

LOOK_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 900.0
# From version 18 on, PostgreSQL counts the syncs of its log here; a process reports its own once a second and when it
# ends.
WAL_SYNCS: Final = "SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'"

STOP_SIGNALS: Final = ((signal.SIGTERM, 30.0),)


class BenchmarkBroken(Exception):
    """A part of the system did not work, so nothing can be measured."""


@dataclass
class Trial:
    """A fresh database and the processes started on it."""

    system: "System"
    name: str
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a module of this virtual environment; its output goes to a file."""
        return self.start_with(sys.executable, *command, **environment)

    def start_with(self, python: str, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a module of this Python's environment; its output goes to a file."""
        with (self.folder / f"{len(self.started)}.log").open("wb") as output:
            process = processes.spawn(
                [python, "-m", *command],
                stop=signal.SIGTERM,
                output=output,
                environment=os.environ | environment,
                folder=PROJECT,
            )
        self.started.append(process)
        return process

    def workers(self, *queues: str, processes: int, threads: int, **environment: str) -> subprocess.Popen[bytes]:
        """Starts a dramatiq process group of Matricule."""
        sizes = ("--processes", str(processes), "--threads", str(threads))
        return self.start("dramatiq", "workers.main", *sizes, "--queues", *queues, **environment)

    def job_workers(self) -> subprocess.Popen[bytes]:
        """Starts the line `worker` of the Procfile."""
        return self.workers("requests", "enrollments", "maintenance", processes=2, threads=8)

    def meter(self, **kinds: subprocess.Popen[bytes]) -> Meter:
        """Returns a meter of the servers and of these processes."""
        return Meter({kind: process.pid for kind, process in kinds.items()} | self.system.pids())

    def wait(self, condition: Callable[[], object], *, pause: float = LOOK_SECONDS) -> None:
        """Waits until the condition is true.

        Raises: BenchmarkBroken, with the end of the logs, when time is over or a process ends.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            ended = [process.args for process in self.started if process.poll()]
            if ended or time.monotonic() > deadline:
                raise BenchmarkBroken(f"ended: {ended}; the end of the logs:\n{self._logs()}")
            time.sleep(pause)

    def wait_until_ready(self, count: int) -> None:
        """Waits until this many processes have sent a heartbeat and are idle."""
        self.wait(lambda: self.number("SELECT count(*) FROM process") >= count)
        time.sleep(1.0)

    def number(self, statement: str, **parameters: object) -> float:
        """Returns the single number of a query."""
        return float(str(rows(statement, **parameters)[0][0]))

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Asks a process to stop and waits for it."""
        processes.end(process, STOP_SIGNALS)

    def stop_all(self) -> None:
        """Stops the processes that still run."""
        for process in self.started:
            self.stop(process)

    def _logs(self) -> str:
        return "\n".join(processes.log_tail(path) for path in sorted(self.folder.glob("*.log")))


class System:
    """The two servers.

    Parameters:
      folder: the folder of all files; it is removed at the end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = places(folder)
        self.postgres = Postgres(self.places)
        self.valkey = Valkey(self.places)

    def start(self) -> None:
        """Starts the servers and creates the template that every run copies."""
        self.postgres.start()
        self.order("ALTER SYSTEM SET track_commit_timestamp = on")
        self.postgres.restart()
        self.valkey.start()
        environment = os.environ | {"DATABASE_URL": self.postgres.url(), "REDIS_URL": self.valkey.url}
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=PROJECT,
            env=environment,
            check=True,
            capture_output=True,
        )

    def stop(self) -> None:
        """Stops the servers and removes all their files."""
        self.valkey.stop()
        self.postgres.stop()
        for folder in {self.places.var, *self.places.outside}:
            shutil.rmtree(folder, ignore_errors=True)

    def pids(self) -> dict[str, int]:
        """Returns the pids of the servers by kind."""
        found = {"PostgreSQL": self.postgres.pid, "Valkey": self.valkey.pid}
        return {kind: pid for kind, pid in found.items() if pid is not None}

    def versions(self) -> dict[str, str]:
        """Returns the versions of the servers, by name."""
        with self.connect("postgres") as connection:
            [(postgres,)] = connection.execute("SHOW server_version")
        client = redis.Redis.from_url(self.valkey.url)
        try:
            server: Any = client.info("server")
        finally:
            client.close()
        return {"PostgreSQL": postgres, "Valkey": server.get("valkey_version") or server["redis_version"]}

    def wal_syncs(self) -> float:
        """Returns how often a process has waited until the log of PostgreSQL was on the disk, since its start."""
        with self.connect("postgres") as connection:
            [(syncs,)] = connection.execute(WAL_SYNCS)
        return float(syncs)

    @contextmanager
    def trial(self, template: str = DATABASE) -> Iterator[Trial]:
        """Copies the template and empties Valkey; the settings of this process point to them during the block."""
        name = f"bench_{uuid4().hex[:12]}"
        self.postgres.create_database(name, template=template)
        before = dict(os.environ)
        self._use(name)
        self.order_valkey("FLUSHALL")
        self.order("CHECKPOINT")
        folder = self.folder / name
        folder.mkdir()
        trial = Trial(self, name, folder)
        try:
            yield trial
        finally:
            trial.stop_all()
            forget()
            os.environ.clear()
            os.environ.update(before)
            self.postgres.drop_database(name)

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        """Opens a plain connection without SQLAlchemy."""
        return psycopg.connect(self.postgres.url(database).replace("postgresql+psycopg", "postgresql"))

    def order_valkey(self, *words: str | int) -> object:
        """Sends a command to Valkey; returns its answer."""
        client = redis.Redis.from_url(self.valkey.url)
        try:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]
        finally:
            client.close()

    def order(self, *statements: str) -> None:
        """Gives orders to PostgreSQL, each outside a transaction."""
        with self.connect("postgres") as connection:
            connection.autocommit = True
            for statement in statements:
                connection.execute(statement.encode())

    def _use(self, database: str) -> None:
        os.environ |= {
            "DATABASE_URL": self.postgres.url(database),
            "REDIS_URL": self.valkey.url,
            "REDIS_NAMESPACE": "matricule",
            "LINK_KEYS": "bench:" + "5a" * 32,
            "PORTAL_KEYS": "bench:" + "3c" * 32,
            "LINK_BASE_URL": "https://formation.example",
            "WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8",
            "MAIL_FROM": "Formation <ne-pas-repondre@formation.example>",
        }
        forget()


@contextmanager
def running_system() -> Iterator[System]:
    """Runs a separate system in a temporary folder on a real disk, and removes it afterwards."""
    for name in ("DATABASE_URL", "REDIS_URL", "SMTP_URL"):  # never the servers of a person
        os.environ.pop(name, None)
    folder = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-bench-"))
    folder.chmod(0o755)  # PostgreSQL's user must be able to enter when we are root
    system = System(folder)
    try:
        system.start()
        yield system
    finally:
        system.stop()
