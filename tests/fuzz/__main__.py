"""Searches for bytes that crash the reader of rosters or block it: ``python -m tests.fuzz SEEDS [libFuzzer options]``.

Every exception except the refusal of the file is a finding, and so is an input that takes longer than `-timeout`
seconds. The process that reads sheets is not started, because its start for each input would take nearly all the time;
it only receives a container that was unpacked before, and it has limits of its own.
"""

import io
import sys
from typing import NoReturn

import atheris

with atheris.instrument_imports(include=["workers.rosters"]):
    from models.words import Code
    from workers.rosters import reader
    from workers.rosters.people import check_rows
    from workers.rosters.refused import RosterRefused


def no_sheet(*_: object) -> NoReturn:
    """Replaces the process that reads sheets."""
    raise RosterRefused(Code.EMPTY_FILE, "a workbook")


def read(data: bytes) -> None:
    """Reads the bytes as the file of a manager: the file is refused, or every row is counted once."""
    file = io.BytesIO(data)
    try:
        reading = reader.survey(file, sheet=no_sheet)
    except RosterRefused:
        return
    rows = [checked.row for checked in check_rows(reader.read_rows(file, reading))]
    lines = [row.line for row in rows]
    if len(rows) != reading.rows or lines != sorted(set(lines)) or lines[0] <= reading.header.line:
        raise AssertionError("rows are missing, doubled or out of order")


if __name__ == "__main__":
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
