"""CSV files for spreadsheets: in the form that Excel reads, and without cells that it takes for formulas."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from models.label import FORMULA_STARTS

MARK: Final = "\N{BYTE ORDER MARK}"
"""The first character of a file, by which Excel knows that it is UTF-8."""

_WRITTEN_AS_FORMULA: Final = re.compile('="((?:[^"]|"")*)"')
_GUARDED: Final = (*FORMULA_STARTS, "'")


def safe_cell(value: str) -> str:
    """Puts a ``'`` before a cell that a spreadsheet would take for a formula."""
    return f"'{value}" if value.startswith(FORMULA_STARTS) else value


def guarded(cell: str) -> str:
    """Does the same in a file that is read again: a cell that begins with ``'`` gets another one (``unguarded``)."""
    return f"'{cell}" if cell.startswith(_GUARDED) else cell


def unguarded(cell: str) -> str:
    """Returns the cell as it was before ``guarded``."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_GUARDED) else cell


def cell_text(cell: str) -> str:
    """Returns the text of a cell that exports write as the formula ``="0012"``, so that Excel keeps its zeros.

    The formula is exactly that; every other cell stays as it is.
    """
    if cell.startswith('="') and (written := _WRITTEN_AS_FORMULA.fullmatch(cell)):
        return written[1].replace('""', '"')
    return cell


def excel_csv(rows: Iterable[Sequence[object]], *, quoted: bool = False) -> bytes:
    """Writes rows as Excel reads them where it is set up for France: UTF-8 with its mark, semicolons, CRLF.

    Parameters:
      quoted: put every cell in quotes, not only where it needs them.
    """
    lines = io.StringIO(newline="")
    quoting: Literal[0, 1] = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    csv.writer(lines, delimiter=";", lineterminator="\r\n", quoting=quoting).writerows(rows)
    return (MARK + lines.getvalue()).encode("utf-8", "replace")
