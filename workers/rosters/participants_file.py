"""Writes participants in the columns of the model with what is known of them, to be corrected and imported again."""

import csv
import io
from collections.abc import Iterable, Sequence

from workers.rosters.known_columns import KNOWN_COLUMNS
from workers.rosters.model_file import HEADERS
from workers.rosters.spreadsheet import MARK, guarded


def participants_header(locale: str, delimiter: str) -> bytes:
    """Returns the first line: UTF-8 with its mark."""
    return MARK.encode() + participants_lines([(*HEADERS[locale], *KNOWN_COLUMNS[locale])], delimiter)


def participants_lines(rows: Iterable[Sequence[str]], delimiter: str) -> bytes:
    """Returns lines of the file; a cell that a spreadsheet would run gets a ``'`` (``guarded``)."""
    lines = io.StringIO(newline="")
    csv.writer(lines, delimiter=delimiter, lineterminator="\r\n").writerows([map(guarded, row) for row in rows])
    return lines.getvalue().encode("utf-8", "replace")
