"""Brings the tables of the database to the state this release needs."""

from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from alembic.command import upgrade
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import models
from workers.cli.edge import COMMON_CODES, REFUSED, command_app, edge, fail
from workers.database import get_engine

MIGRATIONS: Final = Path(models.__file__).parent / "migrations"

HELP: Final = f"""Bring the tables of the database up to date.

Run it at each deployment, before the processes of the new release start. All migrations are one transaction: a failure
leaves the tables as they were. Of two that run at once, one waits for the other. With --check it changes nothing and
says whether there is anything to do.

\b
Exit codes:
   0  the tables are up to date
   1  they are of a later release, or with --check: of an earlier one
   2  wrong use of the command
{COMMON_CODES}
"""

app = command_app()


class Revisions(NamedTuple):
    """The revision of the database, and that of this release.

    Parameters:
      database: its revision; None when it has no tables yet.
      known: this release has the migration that made it.
    """

    database: str | None
    release: str
    known: bool


@app.command(help=HELP)
def main(
    *,
    check: Annotated[bool, typer.Option("--check", help="change nothing, say whether there is anything to do")] = False,
) -> None:
    with edge():
        before = read_revisions()
        if not before.known:
            fail(REFUSED, f"the database is at {before.database}, of a later release than this one ({before.release})")
        if before.database == before.release:
            print(f"the database is up to date, at {before.release}")
            return
        if check:
            fail(REFUSED, f"{_where(before)}, this release needs {before.release}: run matricule migrate")
        upgrade(configuration(), "head")
    print(f"{_where(before)}, now at {before.release}")


def configuration() -> Config:
    """Makes the configuration of Alembic, wherever this package is installed."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def read_revisions() -> Revisions:
    """Compares the database with the migrations of this release."""
    scripts = ScriptDirectory.from_config(configuration())
    with get_engine().connect() as connection:
        database = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    return Revisions(database, str(scripts.get_current_head()), known=database is None or database in known)


def _where(found: Revisions) -> str:
    return f"the database: at {found.database}" if found.database else "the database: without tables"
