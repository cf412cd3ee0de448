"""Reads the first visible sheet of the workbook on its standard input; a line of JSON for the name, then one per row.

``workers/rosters/workbook.py`` starts it as ``python -m workers.rosters.workbook_process``. It has no secret, opens no
file, and its memory and time are limited.
"""

import json
import resource
import sys
import zlib
from datetime import datetime, time
from typing import Any, Final

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum, SheetVisibleEnum

from workers.rosters.ods_text import with_plain_text

MEMORY: Final = 2 << 30
SECONDS: Final = 120

LONGEST_ROW: Final = 10_000_000
MOST_CHARACTERS: Final = 1_000_000_000
"""The most characters of all cells together: a text that a workbook stores once may stand in a million cells."""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        book = CalamineWorkbook.from_filelike(with_plain_text(sys.stdin.buffer))
        sheets = [
            sheet
            for sheet in book.sheets_metadata
            if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
        ]
        if not sheets:
            _say({"refused": "empty_file", "detail": "no visible sheet"})
            return
        _say(sheets[0].name)
        sys.stdout.flush()  # a caller that only asks for the name need not wait for the rows
        if _say_rows(book.get_sheet_by_name(sheets[0].name)):
            _say({"finished": True})
        else:
            _say({"refused": "too_large", "detail": "cells longer than any roster's; save the sheet as CSV"})
    except PasswordError:
        _say({"refused": "password_protected", "detail": "the workbook needs a password; save it without one"})
    except MemoryError:
        _say({"refused": "too_large", "detail": "the workbook takes too much memory; save it as CSV"})
    except (CalamineError, ValueError, OSError, zlib.error) as error:
        _say({"refused": "unreadable_file", "detail": f"{type(error).__name__}; save the workbook again"})
    sys.stdout.flush()


def _say_rows(sheet: Any) -> bool:
    """Writes each row that is not empty; False once the rows are too long."""
    first_row, first_column = sheet.start or (0, 0)
    margin, said = [""] * first_column, 0
    for number, row in enumerate(sheet.to_python(skip_empty_area=True), start=first_row + 1):
        cells = [shown(value) for value in row]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            length = sum(map(len, cells))
            said += length
            if length > LONGEST_ROW or said > MOST_CHARACTERS:
                return False
            _say([number, margin + cells])
    return True


def shown(value: Any) -> str:
    """Returns a cell as text: a number without a needless decimal point, a date in ISO 8601."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case float():
            return str(value + 0.0).removesuffix(".0")  # and no negative zero
        case datetime() if value.time() == time():
            return value.date().isoformat()
    return "" if value is None else str(value)


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")


if __name__ == "__main__":
    main()
