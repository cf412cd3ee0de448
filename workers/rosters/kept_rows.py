"""Reads some rows of a file that was imported before, without checking the whole file again."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from models.words import Code
from workers.rosters.columns import RosterColumn, RosterHeader
from workers.rosters.reader import RosterReading, RosterRow, read_rows
from workers.rosters.refused import RosterRefused
from workers.rosters.text import find_header

SECONDS: Final = 10.0
"""The time that reading the rows of one mail may take; its lease lasts thirty seconds."""


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Rows of an open file; each pass over them reads it again.

    Parameters:
      positions: the positions of the rows from 0, without blank ones, in order.
    """

    file: BinaryIO
    reading: RosterReading
    positions: Sequence[int]

    def __iter__(self) -> Iterator[RosterRow]:
        """Yields the rows; nothing after the last of them is read.

        Raises: RosterRefused when that takes longer than ``SECONDS``, or the file cannot be read any more.
        """
        wanted, deadline = iter(self.positions), time.monotonic() + SECONDS
        next_one = next(wanted, None)
        rows = read_rows(self.file, self.reading, lambda: _hurry(deadline))
        try:
            for position, row in enumerate(rows):
                _hurry(deadline)
                if position == next_one:
                    yield row
                    next_one = next(wanted, None)
                if next_one is None:
                    return
        finally:
            rows.close()
        raise RosterRefused(Code.UNREADABLE_FILE, "rows of its import are not there any more")


def _hurry(deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise RosterRefused(Code.TOO_LARGE, "the rows cannot be read in the time a mail has")


def recall(file: BinaryIO, understood: Mapping[str, Any]) -> RosterReading:
    """Returns how a file was understood when it was imported, from what its import has kept.

    Raises: RosterRefused when the file has no header any more.
    """
    rows, encoding = understood["rows"], understood["encoding"]
    if understood["kind"] == "text":
        outer, header = find_header(file, encoding)
        return RosterReading("text", header, rows, encoding, header.inner or outer, outer)
    columns = {name: RosterColumn(one["column"], one["header"]) for name, one in understood["header"].items()}
    ignored = tuple(RosterColumn(one["column"], one["header"]) for one in understood["ignored_columns"])
    header = RosterHeader(understood["header_line"], columns, ignored, understood["delimiter"])
    return RosterReading(understood["kind"], header, rows, None, header.inner, sheet=understood["sheet"])
