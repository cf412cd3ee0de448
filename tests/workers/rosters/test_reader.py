"""Rosters: files as real software writes them, and ambiguous files."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.person import Person, Refusal, check_person
from models.words import Code
from workers.rosters import reader
from workers.rosters.columns import DELIMITERS
from workers.rosters.reader import ReadRoster, read_roster
from workers.rosters.refused import RosterRefused

SAMPLES = Path(__file__).parent / "samples"
DEMO = Path(__file__).parents[3] / "scripts" / "participants-demo.csv"
EXPECTED: dict[str, dict[str, Any]] = json.loads((SAMPLES / "expected.json").read_text("utf-8"))["files"]

Sorted = tuple[list[tuple[int, Person]], list[tuple[int, Code]]]


def sort_people(roster: ReadRoster) -> Sorted:
    """Returns accepted and refused people by line; the first of two good rows with one address wins."""
    accepted: list[tuple[int, Person]] = []
    refused: list[tuple[int, Code]] = []
    taken: set[str] = set()
    for row in roster.rows:
        person = check_person(row.email, row.first_name, row.last_name)
        if isinstance(person, Refusal):
            refused.append((row.line, person.code))
        elif person.email_norm in taken:
            refused.append((row.line, Code.DUPLICATE_IN_FILE))
        else:
            taken.add(person.email_norm)
            accepted.append((row.line, person))
    return accepted, refused


def cells(roster: ReadRoster) -> list[tuple[int, str, str, str]]:
    return [(row.line, row.email, row.first_name, row.last_name) for row in roster.rows]


def refusal(data: bytes) -> Code:
    with pytest.raises(RosterRefused) as caught:
        read_roster(data)
    return caught.value.code


READ = [name for name, expected in EXPECTED.items() if expected["file_code"] is None]
REFUSED = [name for name, expected in EXPECTED.items() if expected["file_code"] is not None]


@pytest.mark.parametrize("name", READ)
def test_a_sample_is_read_to_the_letter(name: str) -> None:
    expected = EXPECTED[name]
    roster = read_roster((SAMPLES / name).read_bytes())
    reading = roster.reading
    assert reading.encoding in expected.get("encoding_accepts", [None])
    assert (reading.kind, reading.delimiter, reading.sheet, reading.header.line) == (
        *(expected["kind"], expected.get("delimiter"), expected.get("sheet")),
        expected["header_line"],
    )
    header = {name: {"column": found.number, "header": found.header} for name, found in reading.header.columns.items()}
    assert header == expected["header"]
    assert [{"column": one.number, "header": one.header} for one in reading.header.ignored] == expected[
        "ignored_columns"
    ]
    assert reading.whole_row_in_one_cell == bool(expected.get("whole_row_in_one_cell"))
    assert reading.rows == len(roster.rows) == sum(expected["counts"].values())

    accepted, refused = sort_people(roster)
    assert [(line, *person[:3]) for line, person in accepted] == [
        (row["line"], row["email_normalized"], row["first_name"], row["last_name"]) for row in expected["accepted"]
    ]
    assert [line for line, _ in refused] == [row["line"] for row in expected["refused"]]
    for (_, code), row in zip(refused, expected["refused"], strict=True):
        assert code in {row["code"], *row.get("accepts", [])}


@pytest.mark.parametrize("name", REFUSED)
def test_an_ambiguous_sample_is_refused(name: str) -> None:
    expected = EXPECTED[name]
    code = refusal((SAMPLES / name).read_bytes())
    assert code in {expected["file_code"], *expected.get("file_code_accepts", [])}


def test_the_demonstration_file_has_31_people_for_25_seats() -> None:
    data = DEMO.read_bytes()
    roster = read_roster(data)
    assert (roster.reading.encoding, roster.reading.delimiter, roster.reading.header.line, len(roster.rows)) == (
        "windows-1252",
        ";",
        1,
        33,
    )
    assert data.count(b"\r\n") == data.count(b"\n") == 34

    accepted, refused = sort_people(roster)
    assert len(accepted) == 31
    assert refused == [(16, Code.INVALID_EMAIL), (25, Code.DUPLICATE_IN_FILE)]
    assert roster.rows[14].email == "paul.durand@exemple"
    assert roster.rows[23].email == "STEPHANE.BRISSONNEAU@exemple.test\xa0"
    assert roster.rows[0].email == "Marie.Lefevre@exemple.test"
    assert accepted[0] == (2, Person("marie.lefevre@exemple.test", "Marie", "Lefèvre", None, None))
    names = {name for _, person in accepted for name in person[1:3]}
    assert {"Cœlia", "L’Hœuvre", "L'Hostis", "Jean-François"} <= names


HEADER = "Nom;Prénom;E-mail\n"
ROW = "Dû;Zoé;zoe@example.com\n"


@pytest.mark.parametrize(
    "header",
    [
        "Nom;Prénom;E-mail",
        "NOM;PRENOM;EMAIL",
        "nom de famille;pre\u0301nom;courriel",
        "Last Name;First_Name;e_mail",
        "surname;given name;mél",
        "Nom *;Prénom :;Adresse\xa0mail*",
        '"Nom";"Prénom";"Adresse électronique"',
        " last-name ;FIRST NAME;Adresse Électronique :",
        "Nom;Prénom;E-mail;Nom;E-mail",
        "Nom;Prénom;E‑mail",
    ],
)
@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_columns_are_known_by_their_names(header: str, delimiter: str) -> None:
    roster = read_roster((header + "\n" + ROW).replace(";", delimiter).encode())
    assert cells(roster) == [(2, "zoe@example.com", "Zoé", "Dû")]
    assert (roster.reading.encoding, roster.reading.delimiter, roster.reading.header.line) == ("utf-8", delimiter, 1)


@pytest.mark.parametrize(
    "header",
    [
        "Nom complet;Prénom;E-mail",
        "Nom;Prénom;E-mail du responsable",
        "Nom;Prénom",
        "Nom:Prénom:E-mail",
        "Nom/Prénom/E-mail",
        "Nom;Prénom,E-mail",
    ],
)
def test_a_header_that_lacks_a_column_is_no_header(header: str) -> None:
    assert refusal((header + "\n" + ROW).encode()) is Code.MISSING_COLUMN


def test_the_header_is_looked_for_in_twenty_lines() -> None:
    assert read_roster(("Titre\n" * 19 + HEADER + ROW).encode()).reading.header.line == 20
    assert refusal(("Titre\n" * 20 + HEADER + ROW).encode()) is Code.MISSING_COLUMN


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_an_editor_shows_them(end: str) -> None:
    text = f'Titre\n\n{HEADER}{ROW};;\n"Le\nDû";"Z\x0bo\x0cé";"a@b.fr"\n\n \u2028 ;\xa0;\nDit ""X"";a "b" c;x'.replace(
        "\n", end
    )
    roster = read_roster(text.encode())
    assert roster.reading.header.line == 3
    assert cells(roster) == [
        (4, "zoe@example.com", "Zoé", "Dû"),
        (6, "a@b.fr", "Z\x0bo\x0cé", f"Le{end}Dû"),
        (10, "x", 'a "b" c', 'Dit ""X""'),
    ]


def test_mixed_line_ends_each_end_one_line() -> None:
    roster = read_roster(f"{HEADER}A;B;c\r\n\rD;E;f\r\r\nG;H;i\n\r\nJ;K;l".encode())
    assert [row.line for row in roster.rows] == [2, 4, 6, 8]


def test_short_rows_are_filled_and_further_cells_left_out() -> None:
    roster = read_roster(f"{HEADER}Dû\nDû;Zoé;z@b.fr;;more;\n".encode())
    assert cells(roster) == [(2, "", "", "Dû"), (3, "z@b.fr", "Zoé", "Dû")]


def test_a_nul_byte_spoils_only_the_row_it_stands_in() -> None:
    roster = read_roster(f"{HEADER}D\0û;Zoé;z@b.fr\n{ROW}".encode())
    assert sort_people(roster)[1] == [(2, Code.UNSAFE_VALUE)]


def test_a_cell_may_be_a_megabyte() -> None:
    assert len(read_roster(f"{HEADER}{'x' * 1_000_000};Zoé;z@b.fr\n".encode()).rows[0].last_name) == 1_000_000


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.EMPTY_FILE),
        (b"\xef\xbb\xbf", Code.EMPTY_FILE),
        (b" \r\n;;\r\n", Code.EMPTY_FILE),
        (HEADER.encode(), Code.EMPTY_FILE),
        (f"{HEADER};;\n \n".encode(), Code.EMPTY_FILE),
        (f'{HEADER}{ROW}"Dû;Zoé;a@b.fr\n{ROW}'.encode(), Code.UNREADABLE_FILE),
        (f'{HEADER}{ROW}Dû;Zoé;"a@b.fr'.encode(), Code.UNREADABLE_FILE),
        (f'{HEADER}"Maurice "Momo"";Zoé;a@b.fr\n'.encode(), Code.UNREADABLE_FILE),
        (f'"Titre\n{HEADER}{ROW}'.encode(), Code.UNREADABLE_FILE),
        (b"%PDF-1.7\n", Code.UNSUPPORTED_FORMAT),
        (b"PK\x03\x04" + HEADER.encode(), Code.UNSUPPORTED_FORMAT),
        (b"PK\x05\x06", Code.UNSUPPORTED_FORMAT),
        (b"\x1f\x8b\x08", Code.UNSUPPORTED_FORMAT),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Code.UNSUPPORTED_FORMAT),
        (b"\x89PNG\r\n", Code.UNSUPPORTED_FORMAT),
        (b"\n<html><table>", Code.UNSUPPORTED_FORMAT),
        (b"a\0b\0c", Code.UNSUPPORTED_FORMAT),
        (b"BM\x36\x10\0\0\0\0\0\0\x36\0\0\0\xff\x8d\x81", Code.UNSUPPORTED_FORMAT),  # a bitmap
        (b"II*\0\x08\0\0\0\x8e\x9d\x81", Code.UNSUPPORTED_FORMAT),  # TIFF
        (b"\x7fELF\x02\x01\x01\0\0\0\x9d", Code.UNSUPPORTED_FORMAT),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", Code.UNSUPPORTED_FORMAT),
        (b"Rar!\x1a\x07\x01\x00", Code.UNSUPPORTED_FORMAT),
        (b"BZh91AY&SY", Code.UNSUPPORTED_FORMAT),
        (b"MIME-Version: 1.0\r\nContent-Type: multipart/related\r\n", Code.UNSUPPORTED_FORMAT),
        (b"%!PS-Adobe-3.0\n", Code.UNSUPPORTED_FORMAT),
        ("<html><table><tr><td>Nom".encode("utf-16"), Code.UNSUPPORTED_FORMAT),
        (b"\xef\xbb\xbf <?xml version='1.0'?>", Code.UNSUPPORTED_FORMAT),
        (b"PK\x05\x06" + bytes(18), Code.UNSUPPORTED_FORMAT),  # an empty zip
        ("Nom;Prénom;E-mail\nDû;Zoé;z@b.fr\n".encode("utf-16-be"), Code.ENCODING_NOT_RECOGNISED),
        ((HEADER + ROW).encode("utf-32"), Code.ENCODING_NOT_RECOGNISED),
        ((HEADER + ROW).encode("utf-16") + b"x", Code.ENCODING_NOT_RECOGNISED),
        ((HEADER + ROW).encode("utf-16") + b"\x00\xd8", Code.ENCODING_NOT_RECOGNISED),
        ((HEADER + ROW).encode("utf-16-le"), Code.ENCODING_NOT_RECOGNISED),
        ((HEADER + ROW).encode("utf-16-be"), Code.ENCODING_NOT_RECOGNISED),
        ((HEADER + ROW).encode("mac-roman"), Code.ENCODING_NOT_RECOGNISED),
        ((HEADER + ROW).encode("cp850"), Code.ENCODING_NOT_RECOGNISED),
        (b"\xef\xbb\xbf" + (HEADER + ROW).encode("cp1252"), Code.ENCODING_NOT_RECOGNISED),
        (HEADER.encode() + ROW.encode("cp1252"), Code.ENCODING_NOT_RECOGNISED),
        (HEADER.encode("cp1252") + ROW.encode(), Code.ENCODING_NOT_RECOGNISED),
        ((HEADER + ROW * 5000).encode() + b"Caf\xe9", Code.ENCODING_NOT_RECOGNISED),
    ],
)
def test_files_that_are_refused(data: bytes, code: Code) -> None:
    assert refusal(data) is code


@pytest.mark.parametrize("byte", [0x81, 0x8D, 0x8F, 0x90, 0x9D])
def test_bytes_windows_1252_leaves_undefined_are_refused(byte: int) -> None:
    assert refusal((HEADER + ROW).encode("cp1252") + bytes([byte])) is Code.ENCODING_NOT_RECOGNISED


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_ROWS", 3)
    assert len(read_roster((HEADER + ROW * 3 + "\n;;\n").encode()).rows) == 3
    assert refusal((HEADER + ROW * 4).encode()) is Code.TOO_LARGE
    monkeypatch.setattr(reader, "MAX_BYTES", 100)
    assert refusal(b"x" * 101) is Code.TOO_LARGE


def test_an_error_tells_no_value_of_the_file() -> None:
    with pytest.raises(RosterRefused) as caught:
        read_roster(f'{HEADER}"Secret "Nom"";Zoé;secret@example.com\n'.encode())
    assert "ecret" not in str(caught.value)
    assert "line 2" in caught.value.detail
