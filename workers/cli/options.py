"""Declares the options and arguments that several commands have in common."""

from datetime import UTC, datetime, timedelta
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

Key = Annotated[
    str, typer.Option(metavar="KEY", help="idempotency key: repeats under it are one job [default: a new one]")
]
Portal = Annotated[str, typer.Option(metavar="NAME", help="who asks")]
Wait = Annotated[
    float | None, typer.Option(metavar="[SECONDS]", help=f"wait until it is finished [{DEFAULT_WAIT}]", min=0)
]


AsJson = Annotated[bool, typer.Option("--json", help="for programs")]
"""The option of every command that also answers programs."""


class WaitCommand(TyperCommand):
    """Lets `--wait` stand alone or be followed by seconds."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts in the seconds that were left out."""
        return super().parse_args(ctx, with_seconds(args))


def with_seconds(args: list[str]) -> list[str]:
    """Returns the arguments with the default seconds behind a `--wait` that has none."""
    full: list[str] = []
    for place, arg in enumerate(args):
        full.append(arg)
        following = args[place + 1] if place + 1 < len(args) else ""
        if arg == "--wait" and not following.replace(".", "", 1).isdigit():
            full.append(DEFAULT_WAIT)
    return full


AGO: Final = {"min": "minutes", "h": "hours", "d": "days"}
LONGEST_NUMBER: Final = 5
"""The digits of such a number that is to come: a later moment is no date."""


def moment(said: str) -> datetime:
    """Reads a moment as people type it: a date, a date and time (UTC unless it says otherwise), or `2h` for ago."""
    for unit, word in AGO.items():
        number = said.removesuffix(unit)
        if number != said and number.isdigit():
            return datetime.now(UTC) - timedelta(**{word: int(number)})
    try:
        read = datetime.fromisoformat(said)
    except ValueError:
        raise typer.BadParameter("neither 2026-03-01, nor 2026-03-01T08:30, nor 30min, 2h or 3d ago") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def coming_moment(said: str) -> datetime:
    """Reads a moment that is to come: a date, a date and time (UTC unless it says otherwise), or `90d` from now."""
    now = datetime.now(UTC)  # `0min` is now, and not over
    read = planned_moment(said)
    if read < now:
        raise typer.BadParameter("this moment is over")
    return read


def planned_moment(said: str) -> datetime:
    """Reads a moment as ``coming_moment`` does, also one that is over: the command refuses it with a code."""
    lasting = _read_duration(said)
    if lasting is not None:
        return datetime.now(UTC) + lasting
    try:
        read = datetime.fromisoformat(said)
    except ValueError:
        raise typer.BadParameter("neither 2027-03-01, nor 2027-03-01T08:30, nor 30min, 12h or 90d") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def duration(said: str) -> timedelta:
    """Reads a time as people type it: `30min`, `2h` or `3d`."""
    lasting = _read_duration(said)
    if lasting is None:
        raise typer.BadParameter("neither 30min, nor 2h, nor 3d")
    return lasting


def _read_duration(said: str) -> timedelta | None:
    for unit, word in AGO.items():
        number = said.removesuffix(unit)
        if number != said and number.isdecimal() and len(number) <= LONGEST_NUMBER:
            return timedelta(**{word: int(number)})
    return None


def is_called_alone(context: typer.Context) -> bool:
    """Tells whether a group that lists is called without a sub-command; refuses options of the list before one."""
    if context.invoked_subcommand is None:
        return True
    sources = [context.get_parameter_source(name) for name in context.params]
    if any(source and source.name == "COMMANDLINE" for source in sources):
        raise typer.BadParameter(f"options stand behind `{context.invoked_subcommand}`")
    return False


def account_of(session: Session, person: str) -> UUID:
    """Returns the account with this identifier or address; ends the command when no account has the address."""
    try:
        return UUID(person)
    except ValueError:
        email = normalise_email(person)
    found = None if isinstance(email, Code) else find_account(session, email)
    return found or fail(INVALID, "no account has this address")
