"""Looks for bytes that crash the reader of rosters, or hold it up: ``python -m tests.fuzz SEEDS [libFuzzer options]``.

Any exception but the refusal of the file is a find, and so is an input that takes over `-timeout` seconds. The process
that reads sheets is left out: starting one for each input would be all the fuzzer does; what goes to it is a container
that was unpacked once before, and it is bounded itself.
"""

import io
import sys

import atheris

with atheris.instrument_imports(include=["workers.rosters"]):
    from models.words import Code
    from workers.rosters import reader
    from workers.rosters.people import check_rows
    from workers.rosters.refused import RosterRefused


def no_sheet(*_: object) -> None:
    """Stands for the process that reads sheets."""
    raise RosterRefused(Code.EMPTY_FILE, "a workbook")


def read(data: bytes) -> None:
    """Reads the bytes as the file of a manager: a refusal, or every row accounted for once."""
    file = io.BytesIO(data)
    try:
        reading = reader.survey(file)
    except RosterRefused:
        return
    rows = [checked.row for checked in check_rows(reader.read_rows(file, reading))]
    lines = [row.line for row in rows]
    if len(rows) != reading.rows or lines != sorted(set(lines)) or lines[0] <= reading.header.line:
        raise AssertionError("rows are missing, doubled or out of order")


if __name__ == "__main__":
    setattr(reader, "open_sheet", no_sheet)  # noqa: B010 - another function under its name
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
