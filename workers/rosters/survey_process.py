"""Surveys the file on its standard input under limits, and writes how it is read, or why it is refused, as JSON.

``workers/rosters/surveying.py`` starts it as ``python -m workers.rosters.survey_process``.
"""

import dataclasses
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from models.words import Code
from workers.rosters.apart import limit_this_process
from workers.rosters.reader import survey
from workers.rosters.refused import RosterRefused
from workers.rosters.workbook import WorkbookSheet, rows_said


def main() -> None:
    limit_this_process()
    sys.stdout.write(json.dumps(_answer(sys.stdin.buffer)))
    sys.stdout.flush()


def _answer(file: BinaryIO) -> dict[str, Any]:
    try:
        return {"reading": dataclasses.asdict(survey(file, sheet=_open_here))}
    except RosterRefused as refused:
        return {"refused": refused.code, "detail": refused.detail}
    except MemoryError:
        return {"refused": Code.TOO_LARGE, "detail": "the file takes too much memory; split it"}
    except Exception as error:  # noqa: BLE001 - the outermost edge: the worker raises it again
        place = traceback.extract_tb(error.__traceback__)[-1]
        return {"failed": f"{type(error).__name__} in line {place.lineno} of {place.filename.rpartition('/')[2]}"}


def _open_here(file: BinaryIO, _: Callable[[], None]) -> WorkbookSheet:
    """Opens the first visible sheet in this process, which has the limits of a process that reads a workbook."""
    from workers.rosters.workbook_process import read_sheet  # noqa: PLC0415 - its library is for workbooks alone

    lines = rows_said(read_sheet(file))
    return WorkbookSheet(str(next(lines)), lines)


if __name__ == "__main__":
    main()
