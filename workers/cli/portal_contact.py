"""Sets the address of the people who run a portal."""

from typing import Annotated, Final

import typer

from workers.cli.asking import asker
from workers.cli.edge import COMMON_CODES, INVALID, command_app, edge
from workers.database import transaction
from workers.portals.changes import set_contact

CONTACT: Final = f"""Set who is told when a portal's webhooks fail.

\b
  matricule portal contact acme --address ops@acme.example
  matricule portal contact acme --address none

The audit trail keeps your name, without the address.

\b
Exit codes:
   0  done
   2  wrong use of the command
  {INVALID}  no such portal, or not exactly one mail address
{COMMON_CODES}
"""

app = command_app()


@app.command(help=CONTACT)
def contact(
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the portal")],
    *,
    address: Annotated[str, typer.Option(metavar="ADDRESS|none", help="none: no mail is sent")],
) -> None:
    with edge(), transaction() as session:
        set_contact(session, name, None if address == "none" else address, requested_by=asker())
    print(f"{name}: {'has no contact' if address == 'none' else 'the contact is set'}")
