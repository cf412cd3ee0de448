"""Workbooks: the content of the first visible sheet, and hostile containers."""

import io
import struct
import subprocess
import zipfile
import zlib
from datetime import date, datetime
from typing import Any

import pytest
from openpyxl import Workbook

from models.words import Code
from workers.rosters import container, workbook_process
from workers.rosters.reader import ReadRoster, read_roster
from workers.rosters.refused import RosterRefused

HEADER = ["Nom", "Prénom", "E-mail"]
ROW = ["Dû", "Zoé", "zoe@example.com"]


def book(*rows: list[Any]) -> Workbook:
    made = Workbook()
    for row in rows:
        made.active.append(row)
    return made


def saved(made: Workbook) -> bytes:
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def read(*rows: list[Any]) -> ReadRoster:
    return read_roster(saved(book(*rows)))


def refusal(data: bytes) -> Code:
    with pytest.raises(RosterRefused) as caught:
        read_roster(data)
    return caught.value.code


def with_part(data: bytes, name: str, content: bytes) -> bytes:
    """Returns the container with one part replaced or added."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            if part.filename != name:
                new.writestr(part.filename, old.read(part))
        new.writestr(name, content)
    return file.getvalue()


def part(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("00120", "00120"),
        (1207, "1207"),
        (1207.0, "1207"),
        (7.5, "7.5"),
        (-3, "-3"),
        (10**14, "1" + "0" * 14),
        (True, "TRUE"),
        (date(2026, 3, 5), "2026-03-05"),
        (datetime(2026, 3, 5, 8, 30), "2026-03-05 08:30:00"),  # noqa: DTZ001 - a sheet knows no zone
        ("  deux  mots ", "  deux  mots "),
        ("_x0041_", "A"),
        (None, ""),
    ],
)
def test_a_value_is_its_text(value: object, text: str) -> None:
    roster = read([*HEADER, "Matricule"], [*ROW, value])
    assert roster.rows[0].external_id == text


def test_rows_keep_their_numbers_and_columns_their_places() -> None:
    made = book()
    for column, (name, value) in enumerate(zip(HEADER, ROW, strict=True), start=3):
        made.active.cell(5, column, name)
        made.active.cell(9, column, value)
    roster = read_roster(saved(made))
    assert (roster.reading.header.line, [row.line for row in roster.rows]) == (5, [9])
    assert {name: found.number for name, found in roster.reading.header.columns.items()} == {
        "last_name": 3, "first_name": 4, "email": 5,
    }  # fmt: skip
    assert (roster.rows[0].last_name, roster.rows[0].email) == ("Dû", "zoe@example.com")


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_the_first_visible_sheet_counts_whichever_is_active(state: str) -> None:
    made = book(HEADER, ["Caché", "A", "a@b.fr"])
    made.active.sheet_state = state
    chart = made.create_chartsheet("Graphique")
    chart.sheet_state = "visible"
    shown = made.create_sheet("Équipe")
    for row in (HEADER, ROW):
        shown.append(row)
    other = made.create_sheet("Autre")
    other.append(HEADER)
    made.active = 3
    roster = read_roster(saved(made))
    assert (roster.reading.sheet, roster.rows[0].last_name) == ("Équipe", "Dû")


def test_an_empty_first_sheet_is_not_passed_over() -> None:
    made = book()
    second = made.create_sheet("Liste")
    for row in (HEADER, ROW):
        second.append(row)
    assert refusal(saved(made)) is Code.EMPTY_FILE


def test_a_whole_row_in_one_cell_is_split() -> None:
    roster = read(["Nom;Prénom;E-mail"], ["Dû;Zoé;zoe@example.com"], ['"Le ""Dû""";Zoé;z@b.fr'])
    assert roster.reading.whole_row_in_one_cell
    assert [row.last_name for row in roster.rows] == ["Dû", 'Le "Dû"']


def test_a_line_break_in_a_whole_row_drops_nothing_behind_it() -> None:
    roster = read(["Nom;Prénom;E-mail"], ["Dû;Zoé\nMarie;zoe@example.com"], ["Dû;Léa;lea@example.com\n"])
    assert [(row.first_name.split(), row.email) for row in roster.rows] == [
        (["Zoé", "Marie"], "zoe@example.com"),
        (["Léa"], "lea@example.com"),
    ]


def test_the_content_decides_not_the_name() -> None:
    assert read(HEADER, ROW).reading.kind == "xlsx"
    assert refusal(with_part(b"PK\x05\x06" + bytes(18), "word/document.xml", b"<w/>")) is Code.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.95, 0.999])
def test_a_workbook_that_is_cut_is_unreadable(kept: float) -> None:
    data = saved(book(HEADER, *[ROW] * 500))
    assert refusal(data[: int(len(data) * kept)]) is Code.UNREADABLE_FILE


def test_a_container_that_lost_bytes_in_its_middle_is_unreadable() -> None:
    data = saved(book(HEADER, *[ROW] * 500))
    assert refusal(data[:40] + data[235:]) is Code.UNREADABLE_FILE


def test_a_damaged_part_is_unreadable() -> None:
    data = bytearray(saved(book(HEADER, *[ROW] * 500)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sheet = archive.getinfo("xl/worksheets/sheet1.xml")
    middle = sheet.header_offset + 60 + sheet.compress_size // 2
    data[middle : middle + 40] = b"\xff" * 40
    assert refusal(bytes(data)) is Code.UNREADABLE_FILE


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_part_with_a_dtd_is_unreadable(encoding: str) -> None:
    data = saved(book(HEADER, ROW))
    sheet = part(data, "xl/worksheets/sheet1.xml").decode().partition("?>")
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]>{sheet[2] or sheet[0]}'
    assert refusal(with_part(data, "xl/worksheets/sheet1.xml", bomb.encode(encoding))) is Code.UNREADABLE_FILE


def test_a_bomb_that_says_how_large_it_is_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = with_part(saved(book(HEADER, ROW)), "xl/media/x.bin", bytes(3_000_000))
    assert read_roster(data).rows
    monkeypatch.setattr(container, "MAX_UNPACKED", 1_000_000)
    monkeypatch.setattr(zlib, "decompressobj", None)
    assert refusal(data) is Code.TOO_LARGE


def test_a_bomb_that_lies_about_its_size_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = with_part(saved(book(HEADER, ROW)), "xl/media/x.bin", bytes(3_000_000))
    lying = data.replace(struct.pack("<I", 3_000_000), struct.pack("<I", 300))
    assert lying != data
    monkeypatch.setattr(container, "MAX_UNPACKED", 1_000_000)
    assert refusal(lying) is Code.TOO_LARGE


def test_a_cell_a_billion_places_away_ends_only_the_reading_process() -> None:
    data = saved(book(HEADER, ROW))
    far = part(data, "xl/worksheets/sheet1.xml").replace(
        b"</sheetData>", b'<row r="1048576"><c r="XFD1048576" t="str"><v>far</v></c></row></sheetData>'
    )
    assert refusal(with_part(data, "xl/worksheets/sheet1.xml", far)) is Code.TOO_LARGE


def test_an_old_workbook_and_an_encrypted_one_are_told_apart() -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    assert refusal(ole + bytes(3000)) is Code.UNSUPPORTED_FORMAT
    assert refusal(ole + bytes(1 << 20) + "EncryptedPackage".encode("utf-16-le")) is Code.PASSWORD_PROTECTED


def test_an_encrypted_opendocument_file_of_either_kind() -> None:
    for name, content in (
        ("encrypted-package", b"?"),
        ("META-INF/manifest.xml", b"<m:manifest><m:encryption-data m:checksum='x'/></m:manifest>"),
    ):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as made:
            made.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
            made.writestr("content.xml", b"\x8e\x9d" * 50)
            made.writestr(name, content)
        assert refusal(file.getvalue()) is Code.PASSWORD_PROTECTED, name


def test_the_reading_process_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []
    popen = subprocess.Popen

    def remember(*args: Any, **options: Any) -> Any:
        seen.append(options["env"])
        return popen(*args, **options)

    monkeypatch.setenv("LINK_KEYS", "secret")
    monkeypatch.setattr(subprocess, "Popen", remember)
    read(HEADER, ROW)
    assert {name for environment in seen for name in environment} == {"PYTHONPATH"}


def test_numbers_beyond_what_a_sheet_keeps_are_shown_as_they_are() -> None:
    assert workbook_process.shown(1e300) == "1e+300"
    assert workbook_process.shown(0.1) == "0.1"
