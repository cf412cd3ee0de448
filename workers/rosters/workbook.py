"""Reads the first visible sheet of a workbook in a process of its own.

The library that reads workbooks holds a whole sheet in memory, with every cell between the first and the last, and a
file of a few bytes may name a cell a billion cells away. With a limit on memory and time, that ends the reading process
and not the worker.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Final

from models.words import Code
from workers.rosters.apart import ended_at_a_limit, reading_process, wait_for_output
from workers.rosters.refused import RosterRefused

READER: Final = "workers.rosters.workbook_process"


@dataclass(frozen=True, slots=True)
class WorkbookSheet:
    """A sheet; its rows can be read once.

    Parameters:
      lines: the rows as ``[number, cells]``.
    """

    name: str
    lines: Generator[Any, None, object]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yields the rows that are not empty, each with its number from 1.

        Raises:
          RosterRefused: ``UNREADABLE_FILE``, ``PASSWORD_PROTECTED``, or ``TOO_LARGE`` when it takes too much memory or
            time.
        """
        return ((int(line), cells) for line, cells in self.lines)

    def close(self) -> None:
        """Ends the process that reads the sheet."""
        self.lines.close()


def open_sheet(file: BinaryIO, beat: Callable[[], None] = lambda: None) -> WorkbookSheet:
    """Opens the first visible sheet.

    Parameters:
      beat: called a few times in a second while the workbook is opened.

    Raises: as ``WorkbookSheet.rows``.
    """
    lines = _read(file, beat)
    return WorkbookSheet(str(next(lines)), lines)


def rows_said(said: Iterable[Any]) -> Generator[Any, None, bool]:
    """Yields the name of a sheet, then its rows; returns True once the reader has said that it finished.

    Raises: RosterRefused with the refusal that the reader said.
    """
    for one in said:
        if not isinstance(one, dict):
            yield one
        elif "refused" in one:
            raise RosterRefused(Code(one["refused"]), one["detail"])
        else:
            return True
    return False


def _read(file: BinaryIO, beat: Callable[[], None]) -> Generator[Any, None, None]:
    """Yields the name of the sheet, then its rows as ``[number, cells]``."""
    with reading_process(READER, file) as reading:
        finished = yield from rows_said(map(json.loads, _lines(reading.output, beat)))
        if not finished:
            raise _ended(reading.process.wait())


def _ended(status: int) -> RosterRefused:
    """Returns why the process ended early: at one of its limits, or at an error in the file."""
    if ended_at_a_limit(status):
        return RosterRefused(Code.TOO_LARGE, "the workbook takes too much memory or time; save it as CSV")
    return RosterRefused(Code.UNREADABLE_FILE, "the workbook is damaged; save it again")


def _lines(output: IO[bytes], beat: Callable[[], None]) -> Iterator[bytes]:
    """Yields the lines as they come; the first may take long, because the process reads the whole sheet before."""
    wait_for_output(output, beat)
    yield from (line for line in output if line.endswith(b"\n"))  # a killed process may leave half a line
