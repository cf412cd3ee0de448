"""Reads a roster: a CSV file or a workbook to rows of raw cells, or one reason to refuse the file.

Nothing is guessed. A file whose encoding or columns are not certain is refused with what to do, because a name stored
damaged is found out on a certificate, years later. The file is looked at to its end before a row of it is given out,
and then read as a stream: a million rows take no more memory than ten.
"""

import io
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import BinaryIO, Final, Literal, NamedTuple

from models.label import WHITE_SPACE
from models.words import Code
from workers.rosters.columns import HEADER_LINES, RosterHeader, only_cell, read_header, split_cell
from workers.rosters.container import kind_of_container
from workers.rosters.encoding import find_encoding
from workers.rosters.errors_file import carries_errors
from workers.rosters.refused import RosterRefused
from workers.rosters.spreadsheet import unguarded
from workers.rosters.text import check_binary, find_header, records
from workers.rosters.workbook import WorkbookSheet, open_sheet

MAX_BYTES: Final = 200_000_000
MAX_ROWS: Final = 1_000_000
BEAT: Final = 100_000
"""Rows counted between two signs of life: under a second."""

_FIELDS: Final = ("email", "first_name", "last_name", "locale", "external_id")

# Gzip, bzip2, xz, 7z, RAR, PNG, JPEG, GIF, RTF, PostScript, MHTML, XML and HTML; containers of Office look otherwise.
_SIGNATURES: Final = (b"%PDF-", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x89PNG", b"\xff\xd8\xff",
                      b"GIF8", b"{\\rtf", b"%!PS", b"MIME-Version:", b"<")  # fmt: skip
_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")

Kind = Literal["text", "xlsx", "ods"]


class RosterRow(NamedTuple):
    """One person's cells as written. A named tuple because a million of them are made for one file.

    Parameters:
      line: the physical line on which the row begins, or the row of the sheet, from 1.
      cells: all of its cells, for the file of errors; split again where the whole row sat in one.
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
    """What was understood of a file that can be read to its end.

    Parameters:
      encoding, delimiter: of text; the delimiter is the inner one where whole rows sit in one cell.
      sheet: of a workbook.
      outer: the delimiter between cells of the file itself.
      rows: how many there are below the header, blank ones left out.
    """

    kind: Kind
    header: RosterHeader
    rows: int
    encoding: str | None = None
    delimiter: str | None = None
    outer: str = ","
    sheet: str | None = None

    @property
    def whole_row_in_one_cell(self) -> bool:
        """Whether the header sat in one cell."""
        return self.header.inner is not None


def survey(file: BinaryIO, beat: Callable[[], None] = lambda: None) -> RosterReading:
    """Looks at a whole file, and says what it is and how it is to be read.

    Parameters:
      file: can be read from any place; stays open.
      beat: called every few seconds' worth of rows, for whoever must say that they are still at it.

    Raises:
      RosterRefused: ``TOO_LARGE`` (over 200 MB, also unpacked, or 1,000,000 rows), ``UNSUPPORTED_FORMAT``,
        ``PASSWORD_PROTECTED``, ``ENCODING_NOT_RECOGNISED``, ``MISSING_COLUMN``, ``EMPTY_FILE`` or ``UNREADABLE_FILE``.
    """
    if file.seek(0, 2) > MAX_BYTES:
        raise RosterRefused(Code.TOO_LARGE, f"over {MAX_BYTES} bytes; split the file")
    kind = kind_of_container(file)
    reading = _survey_text(file) if kind is None else _survey_workbook(file, kind, beat)
    counted = 0
    for _ in islice(_filled(file, reading, beat), MAX_ROWS + 1):
        counted += 1
        if counted % BEAT == 0:
            beat()
    if counted > MAX_ROWS:
        raise RosterRefused(Code.TOO_LARGE, f"over {MAX_ROWS} rows; split the file")
    if not counted:
        raise RosterRefused(Code.EMPTY_FILE, "nobody below the header")
    return RosterReading(kind or "text", reading.header, counted, reading.encoding, reading.delimiter, reading.outer,
                   reading.sheet)  # fmt: skip


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


def _survey_workbook(file: BinaryIO, kind: Kind, beat: Callable[[], None]) -> RosterReading:
    sheet = open_sheet(file, beat)
    for line, cells in takewhile(lambda record: record[0] <= HEADER_LINES, sheet.rows()):
        if header := read_header(line, cells):
            return RosterReading(kind, header, 0, None, header.inner, sheet=sheet.name)
    if not any(any(cell.strip(WHITE_SPACE) for cell in cells) for _, cells in sheet.rows()):
        raise RosterRefused(Code.EMPTY_FILE, "nothing in the first visible sheet")
    raise RosterRefused(
        Code.MISSING_COLUMN, f"no row of the first {HEADER_LINES} names the columns first name, last name and e-mail"
    )


def read_rows(
    file: BinaryIO, reading: RosterReading, beat: Callable[[], None] = lambda: None
) -> Generator[RosterRow, None, None]:
    """The rows below the header, in order; blank ones are left out, cells missing at the end of a row are empty.

    Parameters:
      beat: called every few seconds while a workbook is opened.
    """
    header = reading.header
    wanted = [header.columns[name].number - 1 if name in header.columns else -1 for name in _FIELDS]
    width = header.width + 1  # one more, always empty, for the columns that are not there
    missing = [""] * width
    ours = carries_errors(header)
    for line, cells in _filled(file, reading, beat):
        found = [unguarded(cell) for cell in cells] if ours else cells
        padded = found if len(found) >= width else [*found, *missing]
        email, first, last, locale, external = [padded[index] if index >= 0 else "" for index in wanted]
        yield RosterRow(line, email, first, last, locale, external, found)


def _filled(file: BinaryIO, reading: RosterReading, beat: Callable[[], None]) -> Iterator[tuple[int, list[str]]]:
    """The records below the header that are not blank, split again where a whole row sits in one cell."""
    delimiter, address = reading.delimiter, reading.header.columns["email"].number - 1
    for line, cells in _records(file, reading, beat):
        if line <= reading.header.line or not any(cells):
            continue
        found = cells
        if delimiter is not None and delimiter in cells[0] and len(cells[0]) > 1 and (whole := only_cell(cells)):
            found = split_cell(whole, delimiter)
        # Nearly every row has an address: then no other cell need be looked at.
        if (len(found) > address and found[address].strip(WHITE_SPACE)) or any(one.strip(WHITE_SPACE) for one in found):
            yield line, found


def _records(file: BinaryIO, reading: RosterReading, beat: Callable[[], None]) -> Iterator[tuple[int, list[str]]]:
    if reading.kind == "text" and reading.encoding is not None:
        return records(file, reading.encoding, reading.outer)
    sheet: WorkbookSheet = open_sheet(file, beat)
    return sheet.rows()


@dataclass(frozen=True, slots=True)
class ReadRoster:
    """A small file read at once: how, and its rows."""

    reading: RosterReading
    rows: tuple[RosterRow, ...]


def read_roster(data: bytes) -> ReadRoster:
    """Reads a whole file that is in memory. Raises: RosterRefused, as ``survey``."""
    file = io.BytesIO(data)
    reading = survey(file)
    return ReadRoster(reading, tuple(read_rows(file, reading)))
