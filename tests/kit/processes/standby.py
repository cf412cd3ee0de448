"""Two PostgreSQL servers: a primary, and a standby that copies it and can be promoted."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from scripts.embedded.places import SHORT_ROOT, Places, places
from scripts.embedded.postgres import DATABASE, MAJOR, PORT, USER, Postgres
from tests.kit.processes.support import wait_until


class PostgresPair:
    """A primary with migrated tables, and its standby.

    Parameters:
      primary: the folders of the primary; its data are there already.
      standby: the folders of the standby.
    """

    def __init__(self, primary: Places, standby: Places) -> None:
        self._places = (primary, standby)
        self.primary = Postgres(primary, durable=False)
        self.standby = Postgres(standby, durable=False)

    def start(self) -> None:
        """Starts the primary, copies it, and starts the copy as its standby."""
        self.primary.start()
        source, target = self._places
        subprocess.run(  # type: ignore[call-overload]
            [
                str(source.postgres_binaries(MAJOR) / "pg_basebackup"),
                *("--host", str(source.postgres_short), "--port", str(PORT), "--username", USER),
                *("--pgdata", str(target.postgres_home / str(MAJOR))),
                *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
            ],
            check=True,
            cwd="/",
            **source.postgres.popen_options(),
        )
        self.standby.start()

    @property
    def hosts(self) -> list[str]:
        """The two servers as hosts of a URL."""
        return [f"{quote(str(where.postgres_short), safe='')}:{PORT}" for where in self._places]

    @property
    def url(self) -> str:
        """The address that names both."""
        return f"postgresql+psycopg://{USER}@{','.join(self.hosts)}/{DATABASE}"

    def fail_over(self) -> None:
        """Kills the primary once its standby has everything, and promotes the standby."""
        with self._connect(0) as primary, self._connect(1) as standby:
            wait_until(
                lambda: (
                    standby.execute("SELECT pg_last_wal_replay_lsn() >= %s", (_position(primary),)).fetchone()
                    == (True,)
                )
            )
        self.primary.kill()
        with self._connect(1) as standby:
            standby.execute("SELECT pg_promote()")

    def _connect(self, number: int) -> psycopg.Connection[tuple[object, ...]]:
        where = str(self._places[number].postgres_short)
        return psycopg.connect(host=where, port=PORT, user=USER, dbname=DATABASE, autocommit=True)

    def stop(self) -> None:
        """Stops both servers."""
        self.standby.kill()
        self.primary.kill()


def _position(primary: psycopg.Connection[tuple[object, ...]]) -> object:
    [position] = primary.execute("SELECT pg_current_wal_lsn()").fetchone() or (None,)
    return position


@contextmanager
def two_places() -> Iterator[tuple[Places, Places]]:
    """Makes the folders of two servers, and removes them at the end."""
    made = [Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-test-")) for _ in range(2)]
    for folder in made:
        folder.chmod(0o755)
    found = places(made[0]), places(made[1])
    try:
        yield found
    finally:
        for where in found:
            for folder in {where.var, *where.outside}:
                shutil.rmtree(folder, ignore_errors=True)
