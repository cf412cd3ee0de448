"""Brings the tables of the database to the state this release needs."""

from typing import Annotated, Final

import typer
from alembic.command import upgrade

from workers.cli.edge import COMMON_CODES, REFUSED, command_app, edge, fail
from workers.revisions import Revisions, configuration, read_revisions

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


def _where(found: Revisions) -> str:
    return f"the database: at {found.database}" if found.database else "the database: without tables"
