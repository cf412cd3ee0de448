"""Removes the spaces between a delimiter and a quote: they belong neither to the cell nor to the next one.

The csv module would take ``"Martinot", "Zoé"`` for a cell that begins with a space and holds quotes.
"""

import re
from functools import cache
from typing import Final, NamedTuple

from models.label import ZERO_WIDTH

_BLANK: Final = f" \xa0{ZERO_WIDTH}"
_SPACED: Final = re.compile(f'[\t{_BLANK}]"|"[\t{_BLANK}]')
"""A line without this has nothing to remove; nearly every line is such a line."""


class _Cells(NamedTuple):
    """The kinds of cells in one line; `open` goes on in the next line, `closing` began in a line before."""

    quoted: re.Pattern[str]
    open: re.Pattern[str]
    plain: re.Pattern[str]
    closing: re.Pattern[str]


@cache
def _cells(delimiter: str) -> _Cells:
    blank = _BLANK if delimiter == "\t" else f"\t{_BLANK}"
    end = rf"[{blank}]*(?=[{re.escape(delimiter)}\r\n]|\Z)"
    return _Cells(
        re.compile(rf'[{blank}]*("(?:[^"]++|"")*+"){end}'),
        re.compile(rf'[{blank}]*("(?:[^"]++|"")*+)\Z'),
        re.compile(f"([^{re.escape(delimiter)}]*)"),
        re.compile(rf'((?:[^"]++|"")*+"){end}'),
    )


def without_spaces(line: str, delimiter: str, *, inside: bool = False) -> str:
    """Returns a line without the spaces between its delimiters and its quotes.

    Parameters:
      inside: the line begins inside a quoted cell.
    """
    if '"' not in line or not _SPACED.search(line):
        return line
    cells, parts, at = _cells(delimiter), list[str](), 0
    kinds = [cells.closing, cells.open, cells.plain] if inside else [cells.quoted, cells.open, cells.plain]
    if inside and not cells.closing.match(line):
        return line
    while True:
        found = next(match for kind in kinds if (match := kind.match(line, at)))
        parts.append(found[1])
        at = found.end()
        if at >= len(line) or line[at] != delimiter:
            return "".join(parts) + line[at:]
        parts.append(delimiter)
        at += 1
        kinds = [cells.quoted, cells.open, cells.plain]
