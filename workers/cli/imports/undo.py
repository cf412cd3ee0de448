"""Takes an import back from a shell."""

from typing import Annotated
from uuid import UUID

import typer

from workers.cli.edge import run
from workers.cli.imports.asking import EXIT_CODES, ask
from workers.cli.options import Wait, WaitCommand
from workers.cli.retry import asker
from workers.requests.imports import UndoImport

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=WaitCommand, epilog=EXIT_CODES)
def main(
    job: Annotated[UUID, typer.Argument(metavar="JOB", help="the job of the import")],
    *,
    no_mails: Annotated[bool, typer.Option("--no-mails", help="send the people withdrawn no mail")] = False,
    portal: Annotated[str, typer.Option(help="whose import it is")] = "local",
    wait: Wait = None,
) -> None:
    """Withdraw the people an import enrolled, unless they have begun the training; their seats are free again."""
    ask(UndoImport(job=job, notify=not no_mails, requested_by=asker()), portal=portal, wait=wait)


if __name__ == "__main__":
    run(app, "undo-import")
