"""Any table of people, written as any software may write it, is read back the same; no bytes crash or
block the reader.
"""

import csv
import io
import random
import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from models.label import WHITE_SPACE
from models.person import Person, Refusal
from models.words import Code
from workers.rosters.columns import DELIMITERS
from workers.rosters.misread import is_damaged
from workers.rosters.people import check_rows
from workers.rosters.reader import MAX_ROWS, ReadRoster, RosterRow, read_roster
from workers.rosters.refused import RosterRefused

HEADERS = [
    ("Nom", "Prénom", "E-mail", "Langue", "Matricule"),
    ("last_name", "first_name", "email", "locale", "external_id"),
    ("SURNAME", "Given Name*", "Courriel :", "langue", "ID"),
]
CERTAIN = "Dûpont-Éléonore’œà"  # with these letters only one encoding is possible
FILE_CODES = {Code.UNREADABLE_FILE, Code.UNSUPPORTED_FORMAT, Code.ENCODING_NOT_RECOGNISED, Code.MISSING_COLUMN,
              Code.EMPTY_FILE, Code.PASSWORD_PROTECTED, Code.TOO_LARGE}  # fmt: skip

any_cell = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=12)
western_cell = st.text(alphabet="abcABC éèàùçôêîûëïüÉÀŒœ'’-\"\n\t;,|@.", max_size=12)


def person(cell: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """Generates a person with more than one filled cell: a row in its first cell alone is read as a whole row in one
    cell.
    """
    return st.tuples(cell.map(lambda text: f"N{text}n"), cell, cell.map(lambda text: f"e{text}@"), cell, cell)


def written(
    people: list[tuple[str, ...]], header: tuple[str, ...], order: list[int], delimiter: str, end: str, quote_all: bool
) -> str:
    """Writes the table as RFC 4180 describes it; the csv module does not quote a line end of another
    kind than its own.
    """

    def cell(value: str) -> str:
        quoted = quote_all or any(sign in value for sign in (delimiter, '"', "\r", "\n"))
        return '"' + value.replace('"', '""') + '"' if quoted else value

    return "".join(delimiter.join(cell(row[index]) for index in order) + end for row in (header, *people))


def answered(data: bytes) -> ReadRoster | Code:
    try:
        return read_roster(data)
    except RosterRefused as refused:
        return refused.code


def values(row: RosterRow) -> tuple[str, ...]:
    return row.last_name, row.first_name, row.email, row.locale, row.external_id


def lines(people: list[tuple[str, ...]], order: list[int]) -> list[int]:
    """Returns the physical line on which each row begins."""
    at, found = 2, []
    for row in people:
        found.append(at)
        at += len(re.findall("\r\n|\r|\n", ";".join(row[index] for index in order))) + 1
    return found


@given(
    people=st.lists(person(any_cell), min_size=1, max_size=5),
    header=st.sampled_from(HEADERS),
    order=st.permutations(range(5)),
    delimiter=st.sampled_from(DELIMITERS),
    quote_all=st.booleans(),
    end=st.sampled_from(["\r\n", "\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_in_unicode(
    people: list[tuple[str, ...]],
    header: tuple[str, ...],
    order: list[int],
    delimiter: str,
    quote_all: bool,
    end: str,
    encoding: str,
) -> None:
    assume(not any(is_damaged(name, encoding) for row in people for name in row[:2]))
    text = written(people, header, order, delimiter, end, quote_all)
    roster = read_roster(text.encode(encoding))
    assert [values(row) for row in roster.rows] == people
    assert [row.line for row in roster.rows] == lines(people, order)
    assert roster.reading.delimiter == delimiter


@given(
    people=st.lists(person(western_cell), min_size=1, max_size=5),
    delimiter=st.sampled_from(DELIMITERS),
    end=st.sampled_from(["\r\n", "\n", "\r"]),
    encoding=st.sampled_from(["windows-1252", "iso-8859-15"]),
)
def test_in_one_byte_a_letter(people: list[tuple[str, ...]], delimiter: str, end: str, encoding: str) -> None:
    certain = (CERTAIN if encoding == "windows-1252" else "Crœsus", "Zoé", "zoe@example.com", "fr", "1")
    cells = [tuple(cell.replace("’", "'") if encoding == "iso-8859-15" else cell for cell in row) for row in people]
    text = written([certain, *cells], HEADERS[0], list(range(5)), delimiter, end, quote_all=False)
    try:
        roster = read_roster(text.encode(encoding))
    except RosterRefused as error:
        refused: Code | None = error.code
        found = []
    else:
        refused, found = None, [values(row) for row in roster.rows]
    # Letters that no language combines are refused, not read as other letters.
    assert refused is Code.ENCODING_NOT_RECOGNISED or found == [certain, *cells]


@given(
    people=st.lists(person(st.text(alphabet="abcé \"';", max_size=8)), min_size=1, max_size=5),
    outer=st.sampled_from(DELIMITERS),
    inner=st.sampled_from(DELIMITERS),
    whole=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_whole_rows_in_one_cell(people: list[tuple[str, ...]], outer: str, inner: str, whole: list[bool]) -> None:
    def one(row: tuple[str, ...]) -> str:
        return written([], row, list(range(5)), inner, "", quote_all=False)

    if outer != inner:
        whole = [True] * 5  # a row with the outer delimiter below a header with the inner one is another table
    rows = [[one(HEADERS[0])]] + [
        [one(row)] if in_one else list(row) for row, in_one in zip(people, whole, strict=False)
    ]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=outer, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerows(rows)
    roster = read_roster(file.getvalue().encode())
    assert [values(row) for row in roster.rows] == people
    assert roster.reading.delimiter == inner


@settings(max_examples=300)
@given(st.binary(max_size=400), st.sampled_from([b"", b"Nom;Pr\xe9nom;E-mail\n", "Nom\tPrénom\tMél\n".encode(),
                                                 b"\xff\xfe", b"\xef\xbb\xbfnom,prenom,email\r\n"]))  # fmt: skip
def test_any_bytes_get_an_answer(data: bytes, start: bytes) -> None:
    answer = answered(start + data)
    if isinstance(answer, Code):
        assert answer in FILE_CODES
    else:
        assert 1 <= len(answer.rows) <= MAX_ROWS
        assert all(row.line > answer.reading.header.line for row in answer.rows)
        assert all(any(cell.strip(WHITE_SPACE) for cell in row.cells) for row in answer.rows)


@pytest.mark.parametrize("seed", range(3))
def test_any_damage_to_a_workbook_gets_an_answer(seed: int) -> None:
    chance = random.Random(seed)
    whole = (Path(__file__).parent / "samples" / ("s13-calc.xlsx", "s14-calc.ods")[seed % 2]).read_bytes()
    for _ in range(15):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        answer = answered(bytes(data))
        assert not isinstance(answer, Code) or answer in FILE_CODES


ROWS = st.lists(
    st.one_of(
        st.just(("", "", "")),
        st.just((" ", "\u00a0", "")),
        st.tuples(st.sampled_from(["Dû", "", "N" * 101]), st.sampled_from(["Zoé", " "]),
                  st.sampled_from(["a@b.fr", "A@b.fr ", "c@d.fr", "x@", ""])),
    ),
    max_size=12,
)  # fmt: skip


@given(rows=ROWS, workbook=st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_record_below_the_header_is_accounted_for_once(rows: list[tuple[str, str, str]], workbook: bool) -> None:
    table = [("Nom", "Prénom", "E-mail"), *rows]
    if workbook:
        book = Workbook()
        for row in table:
            book.active.append([cell or None for cell in row])
        file = io.BytesIO()
        book.save(file)
        data = file.getvalue()
    else:
        data = "\n".join(";".join(row) for row in table).encode()
    blank = {line for line, row in enumerate(rows, start=2) if not any(cell.strip(WHITE_SPACE) for cell in row)}
    answer = answered(data)
    checked = [] if isinstance(answer, Code) else list(check_rows(answer.rows))
    accepted = {one.row.line for one in checked if isinstance(one.person, Person)}
    refused = {one.row.line for one in checked if isinstance(one.person, Refusal)}
    assert len(accepted) + len(refused) == len(checked)
    assert sorted([*accepted, *refused, *blank]) == list(range(2, len(rows) + 2))
