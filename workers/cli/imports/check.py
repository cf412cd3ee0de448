"""Reads a roster file and says what was understood of it and which rows would be refused; touches nothing."""

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer
from rich.table import Table

from models.person import Person, Refusal
from models.words import LOCALES
from workers.cli.edge import REFUSED, UNEXPECTED, command_app, console, print_json
from workers.cli.options import AsJson
from workers.i18n.catalogues import code_sentence
from workers.i18n.results import ask_domain, every_code, explain_result
from workers.rosters.errors_file import column_names
from workers.rosters.people import CheckedRow, check_rows
from workers.rosters.reader import RosterReading, accented_names, read_rows
from workers.rosters.refused import RosterRefused
from workers.rosters.surveying import survey_apart

SHOWN: Final = 50
"""The number of rows in the table; --json has them all."""

NAMED: Final = {"\t": "tab"}

HELP: Final = f"""Say what is understood of a file; touch nothing.

FILE is CSV, .xlsx or .ods. Shown are its encoding or sheet, its columns, and each row that would be refused with the
reason. Nothing is enrolled, stored or sent, and no database is needed.

\b
Exit codes:
   0  the file can be read, whatever becomes of its rows
   1  the file as a whole is refused
   2  wrong use of the command, or FILE cannot be opened
   {UNEXPECTED}  an error of the command itself: its traceback is on stderr
"""

app = command_app()


@app.command(help=HELP)
def main(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)],
    *,
    as_json: AsJson = False,
    locale: Annotated[str, typer.Option(metavar="LOCALE", help="language of the reasons: fr or en")] = LOCALES[0],
) -> None:
    with file.open("rb") as opened:
        try:
            reading = survey_apart(opened)
        except RosterRefused as refused:
            _tell_refused(refused, locale, as_json=as_json)
            raise typer.Exit(REFUSED) from None
        if as_json:
            print_json(as_entry(opened, reading))
        else:
            _tell(opened, reading, locale)


def as_entry(file: BinaryIO, reading: RosterReading) -> dict[str, Any]:
    """Returns the whole reading as one JSON document."""
    accepted, refused, optional = [], [], []
    for checked in check_rows(read_rows(file, reading)):
        row, person = checked.row, checked.person
        if isinstance(person, Refusal):
            refused.append({"line": row.line, "code": person.code, **checked.detail})
            continue
        accepted.append(_accepted(row.line, person) | checked.detail)
        given = {"external_id": person.external_id, "locale": row.locale.strip()}
        if values := {name: value for name, value in given.items() if value}:
            optional.append({"line": row.line} | values)
    layout = {"encoding": reading.encoding, "delimiter": reading.delimiter} if reading.encoding else {}
    if reading.sheet is not None:
        layout = {"sheet": reading.sheet}
    header = reading.header
    names = _accented_names(file, reading)
    entry: dict[str, Any] = {
        "file_code": None,
        "kind": reading.kind,
        **layout,
        "header_line": header.line,
        "header": {name: {"column": one.number, "header": one.header} for name, one in header.columns.items()},
        "ignored_columns": [{"column": one.number, "header": one.header} for one in header.ignored],
        "accepted": accepted,
        "refused": refused,
        "optional_values": optional,
        "counts": {"accepted": len(accepted), "refused": len(refused)},
    }
    entry |= {"accented_names": names} if names else {}
    return entry | ({"whole_row_in_one_cell": True} if reading.whole_row_in_one_cell else {})


def _accepted(line: int, person: Person) -> dict[str, Any]:
    return {
        "line": line,
        "email_normalized": person.email_norm,
        "first_name": person.first_name,
        "last_name": person.last_name,
    }


def _tell_refused(refused: RosterRefused, locale: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"file_code": refused.code, "kind": None, "detail": refused.detail})
        return
    print(f"{refused.code}: {code_sentence(refused.code, locale)}")
    print(f"  ({refused.detail})")


def _tell(file: BinaryIO, reading: RosterReading, locale: str) -> None:
    print(_how(file, reading))
    shown, counts, more = Table("line", "code", "reason", box=None), Counter[str](), 0
    for checked in check_rows(read_rows(file, reading)):
        counts[checked.person.code if isinstance(checked.person, Refusal) else "accepted"] += 1
        if isinstance(checked.person, Refusal) or checked.detail:
            if shown.row_count < SHOWN:
                shown.add_row(*_row(reading, checked, locale))
            else:
                more += 1
    if shown.row_count:
        console().print(shown)
    if more:
        console().print(f"… and {more} more; --json has them all")
    refused = counts.total() - counts["accepted"]
    console().print(f"{counts['accepted']} accepted, {refused} refused of {counts.total()} rows")


def _how(file: BinaryIO, reading: RosterReading) -> str:
    """Returns a line for how the file is read, one for its columns, and one with the first accented names."""
    delimiter = NAMED.get(reading.delimiter or "", repr(reading.delimiter))
    how = f"sheet {reading.sheet}" if reading.sheet is not None else f"{reading.encoding}, delimiter {delimiter}"
    columns = ", ".join(f"{name} = {one.header.strip()}" for name, one in reading.header.columns.items())
    ignored = ", ".join(one.header.strip() for one in reading.header.ignored)
    lines = [f"Read as {reading.kind}, {how}, header on line {reading.header.line}", columns]
    lines += [f"ignored: {ignored}"] if ignored else []
    names = _accented_names(file, reading)
    return "\n".join([*lines, f"names read in {reading.encoding}: {', '.join(names)}…"] if names else lines)


def _accented_names(file: BinaryIO, reading: RosterReading) -> list[str]:
    """Returns the first accented names of a file of which only they tell the encoding."""
    if not reading.accented:
        return []
    first = islice(read_rows(file, reading), reading.accented[-1] + 1)
    return accented_names(row for position, row in enumerate(first) if position in reading.accented)


def _row(reading: RosterReading, checked: CheckedRow, locale: str) -> tuple[str, str, str]:
    """Returns line, codes and reason of a refused row, and of an accepted one with a doubtful mail domain."""
    if not isinstance(checked.person, Refusal):
        return str(checked.row.line), "accepted", ask_domain(checked.detail, locale)
    code, columns = checked.person.code, column_names(reading.header)
    reason = explain_result(code, checked.detail, locale, columns)
    return str(checked.row.line), every_code(code, checked.detail), reason
