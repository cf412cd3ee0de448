"""Puts another name on an account at once, which a manager may do only for people who never activated theirs."""

import json
from typing import Annotated, Any, Final

import typer

from workers.cli.asking import DEAD_CODE, ask_as_ops, asker, end
from workers.cli.edge import COMMON_CODES, INVALID, REFUSED, UNFINISHED, command_app, edge, fail, print_json
from workers.cli.options import Wait, WaitCommand, account_of
from workers.database import Session, transaction
from workers.requests.base import read
from workers.requests.internal import CorrectNameByOps

HELP: Final = f"""Put another name on an account, at once.

This answers article 16 of the GDPR. PERSON gets the names you give; one that you leave out stays. Use it when the
person asks and no manager does, or when they cannot confirm by the link they were sent. Verify their identity first. A
person who has activated the account is told. Certificates keep the name they were issued with: matricule certificate
correct with --reread issues one again. The reason goes to the audit trail with your name; it must hold no name and no
address. You are asked to confirm, unless you give --yes.

The request is recorded in the ledger and its queue is woken; the job is printed as JSON.

\b
Exit codes:
   0  done; without --wait: accepted
   {REFUSED}  refused: no such account, or you answered no
   2  wrong use of the command
  {INVALID}  no such person, no name, or a name or reason that cannot be kept
{COMMON_CODES}
{DEAD_CODE}
  {UNFINISHED}  not finished within the wait; it goes on: matricule jobs show ID
"""

app = command_app()


@app.command(cls=WaitCommand, help=HELP)
def main(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="an address, or the identifier of an account")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail")],
    *,
    first_name: Annotated[str | None, typer.Option(metavar="NAME", help="the right first name")] = None,
    last_name: Annotated[str | None, typer.Option(metavar="NAME", help="the right last name")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask whether it is meant")] = False,
    wait: Wait = None,
) -> None:
    with edge():
        with transaction() as session:
            request = _read(session, person, {"first_name": first_name, "last_name": last_name}, reason)
        _ask(request, yes=yes)
        job = ask_as_ops(request, request.model_dump_json(), wait=wait).job
    print_json(job)
    end(job, wait, f": matricule jobs show {job['id']}")


def _read(session: Session, person: str, names: dict[str, Any], reason: str) -> CorrectNameByOps:
    account_id = account_of(session, person)
    asked = {"account_id": str(account_id), "reason": reason, "requested_by": asker()} | names
    return read(CorrectNameByOps, json.dumps(asked))


def _ask(request: CorrectNameByOps, *, yes: bool) -> None:
    """Asks whether it is meant, because the next certificates will show the name."""
    names = ", ".join(
        f"{what} {name}"
        for what, name in (("first name", request.first_name), ("last name", request.last_name))
        if name is not None
    )
    question = f"Give account {request.account_id} the {names}? Its next certificates will show it"
    if not yes and not typer.confirm(question, err=True):
        fail(REFUSED, "nothing was done")
