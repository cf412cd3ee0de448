"""Says why a job or a mail waits."""

from typing import Annotated, Final
from uuid import UUID

import typer

from workers.cli.edge import COMMON_CODES, REFUSED, command_app, edge, fail, print_json
from workers.cli.options import AsJson
from workers.database import transaction
from workers.ops.why import find_why

HELP: Final = f"""Say why a job or a mail waits, and when it will be done.

The time is an estimate by the rate of its queue in the last 15 minutes; without one it stands still, or no rate tells.
--json gives `code`, `sentence`, `until` and `estimate_at`.

\b
Exit codes:
   0  told, also of one that ended
   1  no job and no mail has this identifier
   2  wrong use of the command
{COMMON_CODES}
"""

app = command_app()


@app.command(help=HELP)
def main(
    row: Annotated[UUID, typer.Argument(metavar="ID", help="the identifier of a job or a mail")],
    *,
    as_json: AsJson = False,
) -> None:
    with edge(), transaction() as session:
        found = find_why(session, row)
    if found is None:
        fail(REFUSED, "no job and no mail has this identifier")
    if as_json:
        print_json(found._asdict())
        return
    print(found.sentence)
    if found.estimate_at:
        print(f"done about {found.estimate_at:%Y-%m-%d %H:%M:%S} UTC, as its queue went in the last 15 minutes")
