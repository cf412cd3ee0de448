"""Reads the first visible sheet of the workbook on its standard input; a line of JSON for the name, then one per row.

``workers/rosters/workbook.py`` starts it as ``python -m workers.rosters.workbook_process``. It has no secret, opens no
file, and its memory and time are limited.
"""

import json
import sys
import zlib
from collections.abc import Iterator
from datetime import datetime, time
from typing import Any, BinaryIO, Final

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

from workers.rosters.apart import limit_this_process
from workers.rosters.ods_text import with_plain_text

LEAST_INEXACT: Final = 2**53
"""Sheets keep numbers as IEEE 754 doubles: from here on, one double stands for several whole numbers."""

LONGEST_ROW: Final = 2_000_000
MOST_COLUMNS: Final = 16_384
MOST_CHARACTERS: Final = 200_000_000
"""The most characters of all cells together: a text that a workbook stores once may stand in a million cells."""


def main() -> None:
    limit_this_process()
    try:
        for said in read_sheet(sys.stdin.buffer):
            sys.stdout.write(json.dumps(said) + "\n")
            if isinstance(said, str):
                sys.stdout.flush()  # a caller that only asks for the name need not wait for the rows
    except MemoryError:
        sys.stdout.write(json.dumps(_TOO_MUCH_MEMORY) + "\n")
    sys.stdout.flush()


_TOO_MUCH_MEMORY: Final = {"refused": "too_large", "detail": "the workbook takes too much memory; save it as CSV"}


def read_sheet(file: BinaryIO) -> Iterator[Any]:
    """Yields the name of the first visible sheet, each row that is not empty as ``[number, cells]``, and how it ended.

    The last one is ``{"finished": True}``, or ``{"refused": code, "detail": reason}``.
    """
    try:
        book = CalamineWorkbook.from_filelike(with_plain_text(file))
        sheets = [
            sheet
            for sheet in book.sheets_metadata
            if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
        ]
        if not sheets:
            yield {"refused": "empty_file", "detail": "no visible sheet"}
            return
        yield sheets[0].name
        yield from _rows(book.get_sheet_by_name(sheets[0].name))
    except PasswordError:
        yield {"refused": "password_protected", "detail": "the workbook needs a password; save it without one"}
    except (CalamineError, ValueError, OSError, zlib.error) as error:
        yield {"refused": "unreadable_file", "detail": f"{type(error).__name__}; save the workbook again"}


def _rows(sheet: Any) -> Iterator[Any]:
    """Yields each row that is not empty, then whether all of them are short enough."""
    _, first_column = sheet.start or (0, 0)
    margin, said = [""] * first_column, 0
    for number, row in enumerate(sheet.iter_rows(), start=1):
        cells = [shown(value) for value in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            length = sum(map(len, cells))
            said += length + len(cells)
            if length > LONGEST_ROW or said > MOST_CHARACTERS or first_column + len(cells) > MOST_COLUMNS:
                yield {"refused": "too_large", "detail": "cells longer than any roster's; save the sheet as CSV"}
                return
            yield [number, margin + cells]
    yield {"finished": True}


def shown(value: Any) -> str:
    """Returns a cell as text: a number without a needless decimal point, a date in ISO 8601.

    A number that has lost its last digits is shown with an exponent, so that it is not taken for a staff number.
    """
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case float() if LEAST_INEXACT <= abs(value) < 1e16:
            return f"{value:.15e}"  # as Python shows the larger ones; it is refused as a number that was shortened
        case float():
            return str(value + 0.0).removesuffix(".0")  # and no negative zero
        case datetime() if value.time() == time():
            return value.date().isoformat()
    return "" if value is None else str(value)


if __name__ == "__main__":
    main()
