"""Reads a roster, a CSV file or a workbook, into rows of raw cells, or gives one reason to refuse the file.

Nothing is guessed. A file with an uncertain encoding or uncertain columns is refused with advice, because a name that
is stored damaged is discovered on a certificate, years later. The file is checked to its end before the first row is
given out, and then read as a stream: a million rows take no more memory than ten.
"""

import io
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO, Final, Literal, NamedTuple

from models.label import WHITE_SPACE, trim
from models.person import MAX_NAME
from models.words import Code
from workers.rosters.columns import HEADER_LINES, RosterHeader, only_cell, read_header, split_cell
from workers.rosters.container import kind_of_container
from workers.rosters.encoding import find_encoding
from workers.rosters.errors_file import carries_errors, header_cells
from workers.rosters.known_columns import carries_known_columns
from workers.rosters.misread import SHOWN, NameJudge
from workers.rosters.refused import RosterRefused
from workers.rosters.spreadsheet import cell_text, unguarded
from workers.rosters.text import Record, check_binary, find_header, records
from workers.rosters.workbook import WorkbookSheet, open_sheet

MAX_BYTES: Final = 200_000_000
MAX_ROWS: Final = 1_000_000
BEAT: Final = 100_000
"""Records read between two calls of `beat`: they take less than a second."""

_FIELDS: Final = ("email", "first_name", "last_name", "locale", "external_id")

# Gzip, bzip2, xz, 7z, RAR, PNG, JPEG, GIF, RTF, PostScript, MHTML, XML and HTML; containers of Office look otherwise.
_SIGNATURES: Final = (b"%PDF-", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x89PNG", b"\xff\xd8\xff",
                      b"GIF8", b"{\\rtf", b"%!PS", b"MIME-Version:", b"<")  # fmt: skip
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")

Kind = Literal["text", "xlsx", "ods"]
OpenSheet = Callable[[BinaryIO, Callable[[], None]], WorkbookSheet]


class RosterRow(NamedTuple):
    """The cells of one person as written. It is a named tuple because one file may need a million of them.

    Parameters:
      line: the physical line on which the row begins, or the row of the sheet, from 1.
      cells: all cells of the row, for the file of errors; split again where the whole row sat in one cell.
    """

    line: int
    email: str
    first_name: str
    last_name: str
    locale: str = ""
    external_id: str = ""
    cells: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RosterReading:
    """How a file that can be read to its end was understood.

    Parameters:
      encoding, delimiter: set for text; the delimiter is the inner one where whole rows sit in one cell.
      sheet: the name of the sheet of a workbook.
      outer: the delimiter between the cells of the file itself.
      rows: the number of rows below the header, without blank ones.
      accented: the positions, from 0, of the first rows with accented names, where only they tell the encoding.
    """

    kind: Kind
    header: RosterHeader
    rows: int
    encoding: str | None = None
    delimiter: str | None = None
    outer: str = ","
    sheet: str | None = None
    accented: tuple[int, ...] = ()

    @property
    def whole_row_in_one_cell(self) -> bool:
        """Tells whether the header sat in one cell."""
        return self.header.inner is not None


def survey(file: BinaryIO, beat: Callable[[], None] = lambda: None, sheet: OpenSheet = open_sheet) -> RosterReading:
    """Checks a whole file and returns how it is to be read. A worker calls ``surveying.survey_apart`` instead.

    Parameters:
      file: a seekable file, which stays open.
      beat: called every second or so.
      sheet: opens the first visible sheet of a workbook.

    Raises:
      RosterRefused: ``TOO_LARGE`` (over 200 MB, also unpacked, or 1,000,000 rows), ``UNSUPPORTED_FORMAT``,
        ``PASSWORD_PROTECTED``, ``ENCODING_NOT_RECOGNISED``, ``MISSING_COLUMN``, ``EMPTY_FILE`` or ``UNREADABLE_FILE``.
    """
    if file.seek(0, 2) > MAX_BYTES:
        raise RosterRefused(Code.TOO_LARGE, f"over {MAX_BYTES} bytes; split the file")
    kind = kind_of_container(file)
    if kind is None:
        reading = _survey_text(file)
        with closing(_records(file, reading, beat)) as lines:
            return _counted(reading, lines, beat)
    with closing(sheet(file, beat)) as opened:
        rows = opened.rows()
        return _counted(_survey_sheet(rows, kind, opened.name), rows, beat)


def _counted(reading: RosterReading, records: Iterable[Record], beat: Callable[[], None]) -> RosterReading:
    """Reads the records to the end; returns the reading with the number of its rows and what their names tell."""
    judge, rows = _name_judge(reading), 0
    for line, cells in islice(_filled(records, reading, beat), MAX_ROWS + 1):
        judge.look_at(rows, line, cells)
        rows += 1
    if rows > MAX_ROWS:
        raise RosterRefused(Code.TOO_LARGE, f"over {MAX_ROWS} rows; split the file")
    if not rows:
        raise RosterRefused(Code.EMPTY_FILE, "nobody below the header")
    return replace(reading, rows=rows, encoding=judge.conclude(), accented=tuple(judge.accented))


def _name_judge(reading: RosterReading) -> NameJudge:
    """Returns the judge of the file's names, who has seen the header."""
    header = reading.header
    first, last = (header.columns[name].number - 1 for name in ("first_name", "last_name"))
    judge = NameJudge(reading.encoding, first, last)
    judge.look_at_header(header.line, header_cells(header))
    return judge


def _survey_text(file: BinaryIO) -> RosterReading:
    file.seek(0)
    beginning = file.read(1024)
    marked = beginning.startswith(_UTF16_MARKS)
    if marked:
        beginning = beginning[2:].replace(b"\0", b"")
    if beginning.removeprefix(_UTF8_MARK).lstrip().startswith(_SIGNATURES):
        raise RosterRefused(Code.UNSUPPORTED_FORMAT, "not a text file; save it as CSV")
    try:
        encoding = find_encoding(file)
    except RosterRefused:
        if not marked:
            check_binary(file)
        raise
    outer, header = find_header(file, encoding)
    return RosterReading("text", header, 0, encoding, header.inner or outer, outer)


def _survey_sheet(rows: Iterable[Record], kind: Kind, name: str) -> RosterReading:
    """Reads the rows of a sheet up to its header."""
    blank = True
    for line, cells in rows:
        if line <= HEADER_LINES and (header := read_header(line, cells)):
            return RosterReading(kind, header, 0, None, header.inner, sheet=name)
        blank = blank and not any(cell.strip(WHITE_SPACE) for cell in cells)
        if line >= HEADER_LINES and not blank:
            break
    if blank:
        raise RosterRefused(Code.EMPTY_FILE, "nothing in the first visible sheet")
    raise RosterRefused(
        Code.MISSING_COLUMN, f"no row of the first {HEADER_LINES} names the columns first name, last name and e-mail"
    )


def read_rows(
    file: BinaryIO, reading: RosterReading, beat: Callable[[], None] = lambda: None
) -> Generator[RosterRow, None, None]:
    """Yields the rows below the header, in order; blank ones are left out, cells missing at the end of a row are empty.

    Parameters:
      beat: called every second or so, and a few times in a second while a workbook is opened.
    """
    header = reading.header
    wanted = [header.columns[name].number - 1 if name in header.columns else -1 for name in _FIELDS]
    width = header.width + 1  # one more cell, always empty, for the columns that are not there
    missing = [""] * width
    ours = carries_errors(header) or carries_known_columns(header)  # then we guarded its cells
    for line, cells in _filled(_records(file, reading, beat), reading, beat):
        found = [unguarded(cell) for cell in cells] if ours else cells
        padded = found if len(found) >= width else [*found, *missing]
        email, first, last, locale, external = [cell_text(padded[index]) if index >= 0 else "" for index in wanted]
        yield RosterRow(line, email, first, last, locale, external, found)


def _filled(records: Iterable[Record], reading: RosterReading, beat: Callable[[], None]) -> Iterator[Record]:
    """Yields the records below the header that are not blank, split again where a whole row sits in one cell."""
    delimiter, address = reading.delimiter, reading.header.columns["email"].number - 1
    for number, (line, cells) in enumerate(records):
        if number % BEAT == BEAT - 1:
            beat()
        if line <= reading.header.line or not any(cells):
            continue
        found = cells
        if delimiter is not None and delimiter in cells[0] and len(cells[0]) > 1 and (whole := only_cell(cells)):
            found = split_cell(whole, delimiter)
        # Nearly every row has an address, and then no other cell need be checked.
        if (len(found) > address and found[address].strip(WHITE_SPACE)) or any(one.strip(WHITE_SPACE) for one in found):
            yield line, found


def _records(file: BinaryIO, reading: RosterReading, beat: Callable[[], None]) -> Generator[Record, None, None]:
    if reading.kind == "text" and reading.encoding is not None:
        yield from records(file, reading.encoding, reading.outer)
        return
    with closing(open_sheet(file, beat)) as sheet:
        yield from sheet.rows()


def accented_names(rows: Iterable[RosterRow]) -> list[str]:
    """Returns the accented names of these rows as they were read, the first ones, so that a manager can see them."""
    names = (trim(name) for row in rows for name in (row.last_name, row.first_name) if not name.isascii())
    return [name[:MAX_NAME] for name in islice(dict.fromkeys(names), SHOWN)]


@dataclass(frozen=True, slots=True)
class ReadRoster:
    """A small file that was read at once: how it was understood, and its rows."""

    reading: RosterReading
    rows: tuple[RosterRow, ...]


def read_roster(data: bytes) -> ReadRoster:
    """Reads a whole file that is in memory. Raises: RosterRefused, as ``survey``."""
    file = io.BytesIO(data)
    reading = survey(file)
    return ReadRoster(reading, tuple(read_rows(file, reading)))
