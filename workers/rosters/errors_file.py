"""Writes the file of errors: the refused rows as written, with line, code and reason, to correct and drop again.

A spreadsheet would run a cell that begins like a formula, so such a cell gets a ``'`` (``guarded``). The reader removes
it again, only in files with our three columns, so that a corrected file says what its author wrote.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from models.label import trim
from workers.rosters.columns import RosterHeader, column_name
from workers.rosters.spreadsheet import MARK, guarded

COLUMNS: Final = {"fr": ("ligne", "code", "motif"), "en": ("line", "code", "reason")}
"""The names of our columns, the last three, by language."""


class FailedRow(NamedTuple):
    """A row that was not enrolled.

    Parameters:
      cells: the cells as they are in the file, in its order.
      codes: the codes of all its faults, with commas between them.
      reason: the sentence of the codes, in the language of the report.
    """

    line: int
    cells: Sequence[str]
    codes: str
    reason: str


def write_errors(header: RosterHeader, failed: Iterable[FailedRow], *, delimiter: str, locale: str) -> Iterator[str]:
    """Yields the text of the file, a row at a time: with a mark and CRLF, and every column that has a name."""
    width = header_width(header)
    yield MARK + _row([*header_cells(header), *COLUMNS[locale]], delimiter)
    for row in failed:
        cells = [*row.cells[:width], *[""] * (width - len(row.cells))]
        yield _row([*cells, str(row.line), row.codes, row.reason], delimiter)


def column_names(header: RosterHeader) -> dict[str, str]:
    """Returns the names that the file has for our fields, to be shown in reasons."""
    return {field: trim(column.header) for field, column in header.columns.items()}


def header_width(header: RosterHeader) -> int:
    """Returns the number of columns of the file itself, without ours, which are written anew each time."""
    columns = max([column.number for column in (*header.columns.values(), *header.ignored)])
    return columns - 3 if carries_errors(header) else columns


def header_cells(header: RosterHeader) -> list[str]:
    """Returns the names of the file's own columns, in its order; empty for a column without a name."""
    cells = [""] * header_width(header)
    for column in (*header.columns.values(), *header.ignored):
        if column.number <= len(cells):
            cells[column.number - 1] = column.header
    return cells


def carries_errors(header: RosterHeader) -> bool:
    """Tells whether this is a file of errors that was dropped again: its last three columns are ours."""
    last = sorted((column.number, column_name(column.header)) for column in header.ignored)[-3:]
    furthest = max(column.number for column in header.columns.values())
    names = tuple(name for _, name in last)
    in_a_row = [number for number, _ in last] == [last[0][0] + place for place in range(3)] if len(last) == 3 else False
    return in_a_row and names in COLUMNS.values() and last[0][0] > furthest


def _row(cells: Sequence[str], delimiter: str) -> str:
    line = io.StringIO(newline="")
    csv.writer(line, delimiter=delimiter, lineterminator="\r\n").writerow([guarded(cell) for cell in cells])
    return line.getvalue()
