"""Puts another address on an account at once, which a manager is refused and operators may do, with a reason."""

import json
from typing import Annotated, Final

import typer

from workers.cli.asking import DEAD_CODE, ask_as_ops, asker, end
from workers.cli.edge import COMMON_CODES, INVALID, REFUSED, UNFINISHED, command_app, edge, fail, print_json
from workers.cli.options import Wait, WaitCommand, account_of
from workers.database import Session, transaction
from workers.requests.base import read
from workers.requests.internal import CorrectEmailByOps

HELP: Final = f"""Put another address on an account, at once.

PERSON gets the address NEW. Use it when a manager is refused: the account belongs to other companies too, or its old
mailbox is no longer read and its password is lost. Verify the identity of the person who asks, because the reader of
the mail of NEW gets the account. Open sessions end, links sent before and the password stop working, both addresses are
told, and NEW is sent a link to choose a password (or an invitation, if the account was never activated). The reason
goes to the audit trail with your name; it must hold no name and no address. You are asked to confirm, unless you give
--yes.

The request is recorded in the ledger and its queue is woken; the job is printed as JSON.

\b
Exit codes:
   0  done; without --wait: accepted
   {REFUSED}  refused: no such account, another account has the address, no mail is
      sent to it (matricule mail suppress --lift), or you answered no
   2  wrong use of the command
  {INVALID}  no such person, NEW is no address, or the reason cannot be kept
{COMMON_CODES}
{DEAD_CODE}
  {UNFINISHED}  not finished within the wait; it goes on: matricule jobs show ID
"""

app = command_app()


@app.command(cls=WaitCommand, help=HELP)
def main(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="an address, or the identifier of an account")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="the right address")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask whether it is meant")] = False,
    wait: Wait = None,
) -> None:
    with edge():
        with transaction() as session:
            request = _read(session, person, new, reason)
        _ask(request, yes=yes)
        job = ask_as_ops(request, request.model_dump_json(), wait=wait).job
    print_json(job)
    end(job, wait, f": matricule jobs show {job['id']}")


def _read(session: Session, person: str, new: str, reason: str) -> CorrectEmailByOps:
    account_id = account_of(session, person)
    asked = {"account_id": str(account_id), "email": new, "reason": reason, "requested_by": asker()}
    return read(CorrectEmailByOps, json.dumps(asked))


def _ask(request: CorrectEmailByOps, *, yes: bool) -> None:
    """Asks whether it is meant, because the account is handed over."""
    question = f"Give account {request.account_id} the address {request.email}? The reader of its mail has the account"
    if not yes and not typer.confirm(question, err=True):
        fail(REFUSED, "nothing was done")
