"""Groups jobs and mails that gave up by their error."""

from datetime import datetime
from typing import Annotated, Final

import typer

from workers.cli.columns import print_columns
from workers.cli.edge import LIST_CODES, command_app, edge, print_json
from workers.cli.options import AsJson, moment
from workers.database import transaction
from workers.ops.errors import TroubleGroup, group_errors

HELP: Final = f"""Group jobs and mails that gave up by their error.

Equal errors are one line: class, reason, and the message with # for numbers, identifiers, addresses and quoted values;
how many, when the first and the last gave up. Errors that are new with the release that runs stand first.

\b
  matricule errors --queue enrollments
  matricule errors --since 2d --json

{LIST_CODES}"""

app = command_app()


@app.command(help=HELP)
def main(
    *,
    queue: Annotated[str, typer.Option(metavar="QUEUE", help="only work of this queue")] = "",
    kind: Annotated[str, typer.Option(metavar="KIND", help="only work of this kind")] = "",
    since: Annotated[
        datetime | None, typer.Option(parser=moment, metavar="WHEN", help="2026-03-01, 2026-03-01T08:30, or 2h ago")
    ] = None,
    as_json: AsJson = False,
) -> None:
    with edge(), transaction() as session:
        groups = group_errors(session, queue=queue, kind=kind, since=since)
    if as_json:
        print_json([group._asdict() for group in groups])
    elif groups:
        print_columns(("number", "first (UTC)", "last (UTC)", "queues", "new in", "error"), list(map(_line, groups)))
    else:
        print("nothing gave up")


def _line(group: TroubleGroup) -> tuple[str, ...]:
    seen = (f"{at:%Y-%m-%d %H:%M}" if at else "-" for at in (group.first_at, group.last_at))
    error = " ".join(part for part in group.trouble.split("|") if part) or "no error recorded"
    return (str(group.rows), *seen, " ".join(group.queues), group.new_in or "-", error)
