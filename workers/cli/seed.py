"""Records companies, trainings and contracts from one JSON document."""

import json
from typing import Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from models.words import Code
from workers.catalog.seed import Catalogue, SeedResult, seed
from workers.cli.edge import COMMON_CODES, INVALID, command_app, console, edge, read_document
from workers.database import Session, transaction
from workers.engine.acceptance import find_portal
from workers.errors import InvalidRequest, Problem
from workers.requests.base import read

EXAMPLE: Final[dict[str, Any]] = {
    "companies": [
        {"reference": "menuiserie-kerbrat", "name": "Menuiserie Kerbrat & Fils"},
        {"reference": "clinique-des-lilas", "name": "Clinique des Lilas"},
    ],
    "trainings": [
        {"reference": "sst-initial", "title": "Sauveteur secouriste du travail : formation initiale"},
        {"reference": "rgpd-bases", "title": "RGPD : les bases pour toute l’équipe"},
    ],
    "contracts": [
        {
            "reference": "CTR-2026-001",
            "company": "menuiserie-kerbrat",
            "training": "sst-initial",
            "planned_seats": 12,
            "starts_on": "2026-01-05",
            "ends_on": "2036-12-31",
        },
        {"reference": "CTR-2026-002", "company": "clinique-des-lilas", "training": "rgpd-bases", "planned_seats": 40},
    ],
}

HELP: Final = f"""Record companies, trainings and contracts from a JSON file.

FILE is recorded as a whole (- for standard input): when one record is refused, none is recorded. Records that exist
already and are equal are not changed, so the same file can be given again. No worker needs to run.

It is JSON with up to three lists; every field is checked as in the request of the same name:

\b
  companies  reference, name
  trainings  reference, title
  contracts  reference, company, training, planned_seats,
             starts_on and ends_on (YYYY-MM-DD), manager_email,
             manager_locale, reminders and release_after_days: these six
             may be left out
`company` and `training` are references, of this file or recorded before.

\b
Example:  matricule seed --example > example.json; matricule seed example.json

\b
Exit codes:
   0  recorded, or there already
   2  wrong use of the command, or FILE cannot be opened
  65  FILE is not the JSON described above, or a record was refused: nothing
      was recorded
{COMMON_CODES}
"""

app = command_app()


class _Undo(Exception):
    """Says that a record was refused, so that the transaction does not commit."""


@app.command(help=HELP)
def main(
    file: Annotated[typer.FileBinaryRead | None, typer.Argument(metavar="FILE", show_default=False)] = None,
    portal: Annotated[str, typer.Option(metavar="NAME", help="the portal that the references belong to")] = "local",
    example: Annotated[bool, typer.Option("--example", help="write an example to standard output, do nothing")] = False,
) -> None:
    if example:
        print(json.dumps(EXAMPLE, ensure_ascii=False, indent=2))
        return
    if file is None:
        raise typer.BadParameter("a file, or - for standard input", param_hint="FILE")
    with edge():
        lines = record(read(Catalogue, read_document(file)), portal)
    print_lines(lines)
    if any(line.outcome == "refused" for line in lines):
        print("Nothing was recorded: correct what was refused and give the file again.")
        raise typer.Exit(INVALID)


def record(catalogue: Catalogue, portal: str) -> list[SeedResult]:
    """Records the document in one transaction, which is undone when anything was refused."""
    lines: list[SeedResult] = []
    try:
        with transaction() as session:
            lines = _seed(session, catalogue, portal)
            if any(line.outcome == "refused" for line in lines):
                raise _Undo
    except _Undo:
        return lines
    return lines


def _seed(session: Session, catalogue: Catalogue, portal: str) -> list[SeedResult]:
    if not (catalogue.companies or catalogue.trainings or catalogue.contracts):
        raise InvalidRequest(Problem(Code.INVALID_REQUEST, "", "nothing to record in this document"))
    return seed(session, find_portal(session, portal), catalogue)


def print_lines(lines: list[SeedResult]) -> None:
    """Prints the outcome of each record."""
    table = Table("record", "reference", "outcome", "code", "field", box=None, pad_edge=False)
    for line in lines:
        style = {"refused": "red", "unchanged": "dim"}.get(line.outcome, "green")
        kind = line.kind.removeprefix("put_")
        table.add_row(kind, line.reference, Text(line.outcome, style), line.code, line.field)
    console().print(table)
