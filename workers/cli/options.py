"""Options and arguments that several commands have in common."""

from typing import Annotated, Any, Final
from uuid import UUID

import typer
from typer.core import TyperCommand

from models.address import normalise_email
from models.words import Code
from workers.cli.edge import INVALID, fail
from workers.database import Session
from workers.ops.audit_search import find_account

DEFAULT_WAIT: Final = "60"

Key = Annotated[str, typer.Option(help="idempotency key: repeats under it are one job [default: a new one]")]
Portal = Annotated[str, typer.Option(help="who asks")]
Wait = Annotated[
    float | None, typer.Option(metavar="[SECONDS]", help=f"wait until it is finished [{DEFAULT_WAIT}]", min=0)
]


class WaitCommand(TyperCommand):
    """Lets `--wait` stand alone or be followed by seconds."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts in the seconds that were left out."""
        return super().parse_args(ctx, with_seconds(args))


def with_seconds(args: list[str]) -> list[str]:
    """The arguments with the default seconds behind a `--wait` that has none."""
    full: list[str] = []
    for place, arg in enumerate(args):
        full.append(arg)
        following = args[place + 1] if place + 1 < len(args) else ""
        if arg == "--wait" and not following.replace(".", "", 1).isdigit():
            full.append(DEFAULT_WAIT)
    return full


def account_of(session: Session, person: str) -> UUID:
    """The account of a person named by its id or by their address; ends the command when nobody has the address."""
    try:
        return UUID(person)
    except ValueError:
        email = normalise_email(person)
    found = None if isinstance(email, Code) else find_account(session, email)
    return found or fail(INVALID, "no account has this address")
