"""Reads the first visible sheet of a workbook in a process of its own.

The library that reads workbooks holds a whole sheet in memory, with every cell between the first and the last, and a
file of a few bytes may name a cell a billion cells away. With a limit on memory and time, that ends the reading process
and not the worker.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Final

from models.words import Code
from workers.rosters.refused import RosterRefused

READER: Final = "workers.rosters.workbook_process"
BEAT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class WorkbookSheet:
    """A sheet that can be read several times."""

    name: str
    file: BinaryIO
    beat: Callable[[], None] = lambda: None

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yields the rows that are not empty, each with its number from 1.

        Raises:
          RosterRefused: ``UNREADABLE_FILE``, ``PASSWORD_PROTECTED``, or ``TOO_LARGE`` when it takes too much memory or
            time.
        """
        lines = _read(self.file, self.beat)
        next(lines)
        yield from ((int(line), cells) for line, cells in lines)


def open_sheet(file: BinaryIO, beat: Callable[[], None] = lambda: None) -> WorkbookSheet:
    """Opens the first visible sheet.

    Parameters:
      beat: called every few seconds while the workbook is opened, which may take a minute or two.

    Raises: as ``WorkbookSheet.rows``.
    """
    lines = _read(file, beat)
    name = next(lines)
    lines.close()
    return WorkbookSheet(str(name), file, beat)


def _read(file: BinaryIO, beat: Callable[[], None]) -> Generator[Any, None, None]:
    """Yields the name of the sheet, then its rows as ``[number, cells]``."""
    with _on_disk(file) as source:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", READER],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},  # none of our secrets
        )
        try:
            if process.stdout is None:
                raise AssertionError("its output is a pipe")
            finished = False
            for line in _lines(process.stdout, beat):
                said = json.loads(line)
                if isinstance(said, dict):
                    if "refused" in said:
                        raise RosterRefused(Code(said["refused"]), said["detail"])
                    finished = True
                    break
                yield said
            if not finished:
                raise _ended(process.wait())
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def _ended(status: int) -> RosterRefused:
    """Returns why the process ended early: at one of its limits, or at an error in the file."""
    if -status in (signal.SIGABRT, signal.SIGKILL, signal.SIGXCPU):
        return RosterRefused(Code.TOO_LARGE, "the workbook takes too much memory or time; save it as CSV")
    return RosterRefused(Code.UNREADABLE_FILE, "the workbook is damaged; save it again")


def _lines(output: IO[bytes], beat: Callable[[], None]) -> Iterator[bytes]:
    """Yields the lines as they come; the first may take long, because the process reads the whole sheet before."""
    while not select.select([output], [], [], BEAT_SECONDS)[0]:
        beat()
    yield from (line for line in output if line.endswith(b"\n"))  # a killed process may leave half a line


def _on_disk(file: BinaryIO) -> IO[bytes]:
    """Copies the file to a temporary one that another process can read from its beginning."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
    file.seek(0)
    while piece := file.read(1 << 20):
        copy.write(piece)
    copy.seek(0)
    return copy
