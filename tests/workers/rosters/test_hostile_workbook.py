"""Workbooks from attackers or unusual software are reported in time, with the right code."""

import io
import os
import signal
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from openpyxl import Workbook

from models.words import Code
from workers.rosters import container, workbook, workbook_process
from workers.rosters.reader import read_roster
from workers.rosters.refused import RosterRefused


def saved() -> bytes:
    made, file = Workbook(), io.BytesIO()
    for row in (["Nom", "Prénom", "E-mail", "Matricule"], ["Dû", "Zoé", "zoe@example.com", 1234567890123456]):
        made.active.append(row)
    made.save(file)
    return file.getvalue()


def refusal(data: bytes) -> Code:
    with pytest.raises(RosterRefused) as caught:
        read_roster(data)
    return caught.value.code


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, b"<x/>")
    return file.getvalue()


def test_parts_named_as_some_software_does() -> None:
    data = saved().replace(b"xl/workbook.xml", b"xl\\Workbook.xml", 1)
    renamed = data.replace(b"xl/workbook.xml", b"xl\\Workbook.xml").replace(
        b"xl/_rels/workbook", b"xl\\_rels\\Workbook"
    )
    assert read_roster(renamed).rows[0].external_id == "1234567890123456"


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["[Content_Types].xml", "_rels/.rels", "word/document.xml"], Code.UNSUPPORTED_FORMAT),
        (["[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"], Code.UNREADABLE_FILE),
        (["xl\\workbook.xml", "xl\\styles.xml"], Code.UNREADABLE_FILE),
        (["photos/1.jpg"], Code.UNSUPPORTED_FORMAT),
    ],
)
def test_a_container_without_its_end(names: list[str], code: Code) -> None:
    assert refusal(zipped(*names)[:-30]) is code


def test_bytes_behind_the_end_of_a_part_are_not_collected() -> None:
    """They would be copied with each piece, which takes minutes for a file of the largest size."""
    deflating = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    short = deflating.compress(b"<x/>") + deflating.flush()
    pieces = iter([short, *[bytes(1 << 16)] * 50])
    assert b"".join(container._inflated(pieces)) == b"<x/>"
    assert len(list(pieces)) == 50  # they are not read


def test_a_part_whose_end_is_missing_is_damaged() -> None:
    deflating = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    cut = deflating.compress(b"<x/>" * 1000) + deflating.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(RosterRefused) as caught:
        list(container._inflated(iter([cut])))
    assert caught.value.code is Code.UNREADABLE_FILE


def test_the_same_bytes_under_many_names_are_not_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that unpacks to nothing still costs the time of its packed bytes, which are stored only once."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("xl/workbook.xml", b"<x/>")
        made.writestr("xl/media/1", bytes(100_000))
        first = made.getinfo("xl/media/1")
        for number in range(3):
            again = zipfile.ZipInfo(f"xl/media/again{number}")
            again.header_offset, again.CRC = first.header_offset, first.CRC
            again.compress_size = first.compress_size
            made.filelist.append(again)
    monkeypatch.setattr(container, "_unpacked", None)
    assert refusal(file.getvalue()) is Code.UNREADABLE_FILE


def test_a_list_of_millions_of_parts_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped(*[f"xl/{number}" for number in range(container.MOST_PARTS + 1)])
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert refusal(data) is Code.TOO_LARGE


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (-signal.SIGABRT, Code.TOO_LARGE),
        (-signal.SIGKILL, Code.TOO_LARGE),
        (-signal.SIGXCPU, Code.TOO_LARGE),
        (-signal.SIGSEGV, Code.UNREADABLE_FILE),
        (1, Code.UNREADABLE_FILE),
    ],
)
def test_how_the_reading_process_ended_tells_why(status: int, code: Code) -> None:
    assert workbook._ended(status).code is code


def test_half_a_line_of_a_process_that_was_ended_is_left_out() -> None:
    here, there = os.pipe()
    os.write(there, b'"Feuil1"\n[1, ["No')
    os.close(there)
    with os.fdopen(here, "rb") as output:
        assert list(workbook._lines(output, lambda: None)) == [b'"Feuil1"\n']


class Sheet:
    """A sheet with one text in many cells."""

    start = (0, 0)

    def __init__(self, *rows: list[str]) -> None:
        self.rows = rows

    def iter_rows(self) -> Iterator[list[str]]:
        return iter(self.rows)


def test_more_text_than_any_roster_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook_process, "LONGEST_ROW", 10)
    monkeypatch.setattr(workbook_process, "MOST_CHARACTERS", 25)
    monkeypatch.setattr(workbook_process, "MOST_COLUMNS", 3)

    def said(*rows: list[str]) -> list[Any]:
        return list(workbook_process._rows(Sheet(*rows)))

    assert said(["x" * 10], ["y" * 10]) == [[1, ["x" * 10]], [2, ["y" * 10]], {"finished": True}]
    for rows in ([["x" * 11]], [["x" * 10], ["y" * 10], ["z" * 10]], [["", "", "", "x"]]):
        *_, last = said(*rows)
        assert last["refused"] == "too_large"


def test_a_number_has_no_needless_point_however_long_it_is() -> None:
    assert [workbook_process.shown(one) for one in (1.0, -0.0, 1e15, 1234567890123456.0, 7.5)] == [
        "1", "0", "1000000000000000", "1234567890123456", "7.5",
    ]  # fmt: skip


def test_a_header_below_the_twentieth_row_is_none() -> None:
    for line, found in ((20, True), (21, False)):
        made, file = Workbook(), io.BytesIO()
        for column, (name, value) in enumerate([("Nom", "Dû"), ("Prénom", "Zoé"), ("E-mail", "z@b.fr")], start=1):
            made.active.cell(line, column, name)
            made.active.cell(line + 1, column, value)
        made.save(file)
        if found:
            assert read_roster(file.getvalue()).reading.header.line == line
        else:
            assert refusal(file.getvalue()) is Code.MISSING_COLUMN
