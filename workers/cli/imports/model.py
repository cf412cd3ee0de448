"""Writes the roster model that managers fill in to standard output."""

import sys
from enum import StrEnum
from typing import Annotated, Final

import typer

from models.words import LOCALES
from workers.cli.edge import command_app
from workers.rosters.model_file import HEADERS, csv_model, xlsx_model

HELP: Final = """Write the model of a file that managers fill in.

It goes to standard output. As CSV it is UTF-8 with a mark, separated by commas; --delimiter ";" makes the variant a
French Excel opens in columns.

\b
Exit codes:
   0  written
   2  wrong use of the command
"""


class Format(StrEnum):
    """The file formats of the model."""

    CSV = "csv"
    XLSX = "xlsx"


app = command_app()


@app.command(help=HELP)
def main(
    *,
    format: Annotated[Format, typer.Option(help="what it is written as")] = Format.CSV,  # noqa: A002 - what people type
    delimiter: Annotated[str, typer.Option(metavar="CHARACTER", help="of CSV: , or ;")] = ",",
    locale: Annotated[str, typer.Option(metavar="LOCALE", help="language of the header: fr or en")] = LOCALES[0],
) -> None:
    if locale not in HEADERS:
        raise typer.BadParameter(f"one of: {', '.join(HEADERS)}", param_hint="--locale")
    if delimiter not in (",", ";"):
        raise typer.BadParameter("a comma or a semicolon", param_hint="--delimiter")
    model = csv_model(locale, delimiter) if format is Format.CSV else xlsx_model(locale)
    sys.stdout.buffer.write(model)
