"""Declares the options by which commands choose jobs and mails, the same for those that list and those that act."""

from datetime import datetime
from typing import Annotated

import typer

from workers.cli.options import moment

Kind = Annotated[str, typer.Option(metavar="KIND", help="only of this kind")]
Queue = Annotated[str, typer.Option(metavar="QUEUE", help="only of this queue")]
OfPortal = Annotated[str, typer.Option("--portal", metavar="NAME", help="only what this portal asked")]
OfContract = Annotated[str, typer.Option("--contract", metavar="REF", help="only of the contract with this reference")]
OfTrouble = Annotated[
    str, typer.Option("--trouble", metavar="ERROR", help="only with this error, as `matricule errors` shows it")
]
Since = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="WHEN", help="2026-03-01, 2026-03-01T08:30, or 2h ago")
]
Until = Annotated[datetime | None, typer.Option(parser=moment, metavar="WHEN", help="only before this moment")]


def rate(said: str) -> int:
    """Reads rows a minute as people type them: `600` or `600/min`."""
    number = said.removesuffix("/min")
    if not (number.isdecimal() and len(number) <= 6 and int(number)):
        raise typer.BadParameter("not a number of rows a minute, such as 600/min")
    return int(number)


Rate = Annotated[int | None, typer.Option(parser=rate, metavar="N/min", help="at most so many rows a minute")]
