"""Puts addresses on the list of those no mail is sent to, takes them off it, shows it."""

from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.table import Table

from models.address import normalise_email
from models.label import clean_reason
from models.words import Code
from workers.cli.asking import asker
from workers.cli.edge import COMMON_CODES, INVALID, REFUSED, command_app, console, edge, fail, print_json
from workers.database import transaction
from workers.outbox.suppression import (
    SuppressedAddress,
    lift,
    list_suppressed,
    suppress,
)

HELP: Final = f"""Leave an address alone: send no mail to it.

Enrollments under it are refused, too.

\b
  matricule mail suppress zoe@example.com --reason "asked by phone"
  matricule mail suppress zoe@example.com --reason "bounced" --days 7
  matricule mail suppress --lift zoe@example.com
  matricule mail suppress --list

When a server says at once that a mailbox does not exist, its address is put on the list automatically, for seven days.
So it is for a bounce that arrives later, once MAIL_RETURN_ADDRESS is set; one at MAIL_BOUNCE_ADDRESS is not read. An
address listed by hand without --days stays until it is lifted. The audit trail keeps your name and the reason, without
the address. Mails that were not sent meanwhile are not sent afterwards.

\b
Exit codes:
   0  done, or so already
   1  --lift: the address is not on the list; nothing was changed
   2  wrong use of the command
  65  not an address, or a reason that names one; nothing was changed
{COMMON_CODES}
"""

app = command_app()


@app.command(help=HELP)
def main(
    *,
    address: Annotated[str, typer.Argument(help="to be left alone, or with --lift no longer")] = "",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail; no name, no address")] = "",
    days: Annotated[int | None, typer.Option(metavar="DAYS", help="for so many days only", min=1, max=3_650)] = None,
    lifted: Annotated[bool, typer.Option("--lift", help="take the address off the list")] = False,
    listed: Annotated[bool, typer.Option("--list", help="show the list")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="with --list: for programs")] = False,
) -> None:
    _check_use(address, reason, lifted=lifted, listed=listed, as_json=as_json)
    if days is not None and not reason:
        raise typer.BadParameter("--days goes with the --reason an ADDRESS is put on the list for")
    if listed:
        _list(as_json=as_json)
    elif lifted:
        _lift(_normal(address))
    else:
        _suppress(_normal(address), _harmless(reason), None if days is None else timedelta(days=days))


def _check_use(address: str, reason: str, *, lifted: bool, listed: bool, as_json: bool) -> None:
    if bool(address) == listed:
        raise typer.BadParameter("give an ADDRESS, or --list")
    if lifted and (listed or reason):
        raise typer.BadParameter("--lift takes an ADDRESS and nothing else")
    if bool(reason) != bool(address and not lifted):
        raise typer.BadParameter("--reason says why an ADDRESS is put on the list")
    if as_json and not listed:
        raise typer.BadParameter("--json goes with --list")


def _normal(address: str) -> str:
    email = normalise_email(address)
    return fail(INVALID, "this is not a mail address") if isinstance(email, Code) else email


def _harmless(reason: str) -> str:
    """Returns the reason as it is kept: one line, without an address."""
    kept = clean_reason(reason)
    if isinstance(kept, Code):
        return fail(INVALID, "the reason goes to the audit trail: a short line, without an address")
    return kept


def _suppress(email: str, reason: str, lasts: timedelta | None) -> None:
    with edge(), transaction() as session:
        answer = suppress(session, email, why=reason, requested_by=asker(), lasts=lasts)
    print("on the list: no mail is sent to it" if answer == "listed" else "on the list already: nothing was changed")


def _lift(email: str) -> None:
    with edge(), transaction() as session:
        answer = lift(session, email, requested_by=asker())
    if answer == "not_listed":
        fail(REFUSED, "not on the list")
    print("off the list: mails are sent to it again")


def _list(*, as_json: bool) -> None:
    with edge(), transaction() as session:
        found = list_suppressed(session)
    if as_json:
        print_json([_plain(one) for one in found])
    else:
        console().print(_table(found))


def _plain(one: SuppressedAddress) -> dict[str, str | None]:
    until = one.until.isoformat() if one.until else None
    return {"address": one.email, "reason": one.reason, "since": one.since.isoformat(), "until": until}


def _table(found: list[SuppressedAddress]) -> Table:
    table = Table("address", "reason", "since", "until", box=None, pad_edge=False)
    for one in found:
        until = f"{one.until:%Y-%m-%d %H:%M} UTC" if one.until else "lifted by hand"
        table.add_row(one.email, one.reason, f"{one.since:%Y-%m-%d %H:%M} UTC", until)
    return table
