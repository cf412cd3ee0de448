"""Stops an import, or takes one back, from a shell."""

from typing import Annotated, Final
from uuid import UUID

import typer

from workers.cli.asking import DEAD_CODE, ask, asker, end, new_key
from workers.cli.edge import COMMON_CODES, command_app, edge, print_json
from workers.cli.options import Wait, WaitCommand
from workers.requests.base import Request
from workers.requests.imports import CancelImport, UndoImport

EXIT_CODES: Final = f"""\b
Exit codes:
   0  done; without --wait: accepted
   1  refused, a business answer: nothing was changed, the code says why
   2  wrong use of the command
{COMMON_CODES}
{DEAD_CODE}
  75  not finished within the wait; it goes on
"""

CANCEL: Final = """Stop an import; what was done stays done.

It stops between two chunks. `matricule import undo` takes back what it did before."""

UNDO: Final = """Withdraw the people an import enrolled.

People who have begun the training stay enrolled; the seats of the others are free again."""

app = command_app()

Import = Annotated[UUID, typer.Argument(metavar="JOB", help="the job of the import")]
Portal = Annotated[str, typer.Option(metavar="NAME", help="the portal of the import")]


@app.command(cls=WaitCommand, help=CANCEL, epilog=EXIT_CODES)
def cancel(job: Import, *, portal: Portal = "local", wait: Wait = None) -> None:
    _ask(CancelImport(job=job, requested_by=asker()), portal=portal, wait=wait)


@app.command(cls=WaitCommand, help=UNDO, epilog=EXIT_CODES)
def undo(
    job: Import,
    *,
    no_mails: Annotated[bool, typer.Option("--no-mails", help="send the people withdrawn no mail")] = False,
    portal: Portal = "local",
    wait: Wait = None,
) -> None:
    _ask(UndoImport(job=job, notify=not no_mails, requested_by=asker()), portal=portal, wait=wait)


def _ask(request: Request, *, portal: str, wait: float | None) -> None:
    key = new_key()
    with edge():
        job = ask(request, request.model_dump_json(), portal=portal, key=key, wait=wait).job
    print_json({"key": key, **job})
    end(job, wait, "")
