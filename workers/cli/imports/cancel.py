"""Stops an import from a shell."""

from typing import Annotated
from uuid import UUID

import typer

from workers.cli.edge import run
from workers.cli.imports.asking import EXIT_CODES, ask
from workers.cli.options import Wait, WaitCommand
from workers.cli.retry import asker
from workers.requests.imports import CancelImport

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=WaitCommand, epilog=EXIT_CODES)
def main(
    job: Annotated[UUID, typer.Argument(metavar="JOB", help="the job of the import")],
    *,
    portal: Annotated[str, typer.Option(help="whose import it is")] = "local",
    wait: Wait = None,
) -> None:
    """Stop an import between two chunks; what was done stays done (scripts/undo-import takes it back)."""
    ask(CancelImport(job=job, requested_by=asker()), portal=portal, wait=wait)


if __name__ == "__main__":
    run(app, "cancel-import")
