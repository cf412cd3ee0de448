"""A chaos test has its own servers, which it may kill, flush or stop."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.embedded.places import SHORT_ROOT, places
from scripts.embedded.postgres import Postgres
from scripts.embedded.valkey import Valkey
from tests.kit.processes.killed import LEASE
from tests.kit.processes.support import forget
from tests.kit.servers import copy_migrated_data


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """Creates a data folder for the servers of one test, and deletes it with its sockets afterwards."""
    var = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-chaos-"))
    var.chmod(0o755)
    yield var
    where = places(var)
    for folder in {where.var, *where.outside}:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def valkey(fresh_database: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Valkey]:
    """Starts a Valkey for this test only."""
    server = Valkey(places(own_folder))
    server.start()
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setenv("LEASE_SECONDS", str(LEASE))
    forget()
    yield server
    forget()
    server.stop()


@pytest.fixture
def postgres(
    valkey: Valkey, own_folder: Path, migrated_data: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Postgres]:
    """Starts a PostgreSQL for this test only; it keeps its commits after a kill."""
    where = places(own_folder)
    copy_migrated_data(migrated_data, where)
    server = Postgres(where)
    server.start()
    monkeypatch.setenv("DATABASE_URL", server.url())
    forget()
    yield server
    forget()
    server.stop()
