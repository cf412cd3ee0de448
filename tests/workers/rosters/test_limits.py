"""No file takes a worker's time or memory: each is read, or refused, in a process of its own and within its limits."""

import io
import resource
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from models.words import Code
from workers.rosters import surveying
from workers.rosters.apart import MEMORY, reading_process
from workers.rosters.reader import read_rows, survey
from workers.rosters.refused import RosterRefused
from workers.rosters.surveying import survey_apart

pytestmark = pytest.mark.serial

MOST_SECONDS = 10.0
HEADER = "Nom;Prénom;E-mail\n".encode()
ROW = "Dû;Zoé;zoe@example.com\n".encode()
SPREADSHEET = (
    "<office:document-content xmlns:office='urn:oasis:names:tc:opendocument:xmlns:office:1.0'"
    " xmlns:table='urn:oasis:names:tc:opendocument:xmlns:table:1.0'"
    " xmlns:text='urn:oasis:names:tc:opendocument:xmlns:text:1.0'><office:body><office:spreadsheet>"
    "<table:table table:name='A'>{}</table:table></office:spreadsheet></office:body></office:document-content>"
)


def ods(*rows: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        made.writestr("META-INF/manifest.xml", "<manifest/>")
        made.writestr("content.xml", SPREADSHEET.format("".join(rows)))
    return file.getvalue()


def row(*texts: str, more: str = "", attributes: str = "") -> str:
    cells = (f"<table:table-cell office:value-type='string'><text:p>{one}</text:p></table:table-cell>" for one in texts)
    return f"<table:table-row {attributes}>{''.join(cells)}{more}</table:table-row>"


def empty(columns: int) -> str:
    return f"<table:table-cell table:number-columns-repeated='{columns}'/>"


TOP = row("Nom", "Prénom", "E-mail") + row("Dû", "Zoé", "zoe@example.com")
MILLION = "table:number-rows-repeated='1048573'"
NESTED = b"".join(b"%s%d" % (mark, number) for number in range(2_500) for mark in (b";", b",", b"\t", b"|"))[:49_000]

FILES: dict[str, tuple[Callable[[], bytes], Code | int]] = {
    "rows of two million empty cells": (lambda: (b";" * 2_000_000 + b"\n") * 10, Code.TOO_LARGE),
    "the same below a header": (lambda: HEADER + ROW + (b";" * 2_000_000 + b"\n") * 10, Code.TOO_LARGE),
    "rows of a few empty cells less": (lambda: HEADER + ROW + (b";" * 1_900_000 + b"\n") * 10, Code.TOO_LARGE),
    "150 MB of blank lines": (lambda: HEADER + b"\n" * 150_000_000, Code.TOO_LARGE),
    "150 MB of carriage returns": (lambda: b"\r" * 150_000_000, Code.EMPTY_FILE),
    "a line of 100 MB": (lambda: b"x" * 100_000_000, Code.TOO_LARGE),
    "a line of 100 MB of each delimiter": (lambda: b";,\t|" * 25_000_000, Code.TOO_LARGE),
    "a quote that is never closed": (lambda: HEADER + b'"' + b"abc\n" * 25_000_000, Code.UNREADABLE_FILE),
    "a row of quoted cells without an end": (lambda: HEADER + b'"x\ny";' * 15_000_000, Code.UNREADABLE_FILE),
    "rows that may be headers": (lambda: (NESTED + b"\n") * 1_000, Code.MISSING_COLUMN),
    "a title of 5,000 cells": (lambda: b"a;" * 5_000 + b"\n" + HEADER + ROW, 1),
    "a million rows of empty columns": (lambda: HEADER + (b" " + b";" * 180 + b"\n") * 1_000_000, Code.TOO_LARGE),
    "150 MB of NUL": (lambda: bytes(150_000_000), Code.UNSUPPORTED_FORMAT),
    "blank lines in UTF-16": (lambda: b"\xff\xfe" + b"\n\0" * 75_000_000, Code.EMPTY_FILE),
    "delimiters in UTF-16": (lambda: b"\xff\xfe" + b";\0" * 75_000_000, Code.TOO_LARGE),
    "nothing but sep=": (lambda: b"sep=;\n" * 20_000_000, Code.MISSING_COLUMN),
    "a million rows without an address": (lambda: HEADER + b"a;b;c\n" * 1_000_000, 1_000_000),
    "a sheet whose rows have a million empty cells": (lambda: ods(TOP, row(more=empty(1_000_000)) * 10), 1),
    "a sheet of a million empty rows": (lambda: ods(TOP, row(more=empty(16_384), attributes=MILLION), row("x")), 2),
    "a sheet of one person a million times": (lambda: ods(TOP, row("Dû", "Zoé", "z@b.fr", attributes=MILLION)),
                                              Code.TOO_LARGE),
}  # fmt: skip


def answer(data: bytes) -> Code | int:
    """Surveys a file, then reads its rows as an import does; returns their number, or why the file is refused."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        try:
            reading = survey_apart(file)
        except RosterRefused as refused:
            return refused.code
        return sum(1 for _ in read_rows(file, reading))


def seconds_used() -> float:
    used = [resource.getrusage(which) for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def test_every_file_is_answered_in_seconds(subtests: pytest.Subtests) -> None:
    for name, (make, expected) in FILES.items():
        with subtests.test(name):
            data = make()
            before = seconds_used()
            assert answer(data) == expected
            assert seconds_used() - before < MOST_SECONDS


def test_the_reading_process_has_a_limit_on_its_memory() -> None:
    with io.BytesIO(HEADER + ROW) as file, reading_process(surveying.SURVEYOR, file) as reading:
        answered = reading.output.read()  # its limits are those of its end
        limits = Path(f"/proc/{reading.process.pid}/limits").read_text()
    assert b'"reading"' in answered
    assert f"Max address space         {MEMORY} " in limits
    assert MEMORY <= 300_000_000


def test_an_error_of_the_caller_ends_the_reading() -> None:
    class StoppedError(Exception):
        pass

    def stop() -> None:
        raise StoppedError

    with slow_file() as file, pytest.raises(StoppedError):
        survey_apart(file, stop)


def test_a_reading_process_that_breaks_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveying, "SURVEYOR", "workers.rosters.no_such_module")
    with io.BytesIO(HEADER + ROW) as file, pytest.raises(RuntimeError, match="the process that reads a file failed"):
        survey_apart(file)


def test_it_reads_as_the_reader_itself_does() -> None:
    for name in ("s07-sep.csv", "s09-une-cellule.csv", "s12-noms.csv", "s13-calc.xlsx", "s14-calc.ods"):
        with (Path(__file__).parent / "samples" / name).open("rb") as file:
            assert survey_apart(file) == survey(file), name


def slow_file() -> BinaryIO:
    """Returns a file that takes a second or more to read."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
    file.write(HEADER + (b" " + b";" * 47 + b"\n") * 1_000_000)
    return file
