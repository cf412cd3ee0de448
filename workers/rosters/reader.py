"""Reads a roster: the bytes of a CSV file to rows of raw cells, or one reason to refuse the file.

Nothing is guessed. A file whose encoding or columns are not certain is refused with what to do, because a name stored
damaged is found out on a certificate, years later.
"""

import csv
import io
import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from models.label import WHITE_SPACE
from models.words import Code
from workers.errors import MatriculeError

MAX_BYTES = 50_000_000
MAX_ROWS = 200_000
HEADER_LINES = 20  # the header is looked for in these; what stands above it is a title

_DELIMITERS = (";", ",")
_ALIASES = {
    "first_name": {"prenom", "firstname", "givenname"},
    "last_name": {"nom", "nomdefamille", "lastname", "surname"},
    "email": {"email", "courriel", "adressemail", "adresseelectronique", "mel"},
}
_UNCLOSED = "unexpected end of data"  # the csv module's words for a quote still open at the end of the file
_LONGEST_COLUMN_NAME = 100
_MOST_COLUMNS = 16_384  # what Excel can write; a file of nothing but delimiters has millions
_NO_PART_OF_A_COLUMN_NAME = re.compile(r"[\s_\-‐‑]+")

# PDF, zip (so .xlsx and .ods), gzip, old Office and encrypted workbooks, PNG, JPEG, GIF, RTF, XML and HTML.
_SIGNATURES = (
    b"%PDF-",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"\xd0\xcf\x11\xe0",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"{\\rtf",
    b"<",
)
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"

# Every pattern below begins with one class of rare characters, which the regex engine skips to: a file may be 50 MB.

# UTF-8 spellings of é, œ, NBSP, ’ and the like: in a file that is not UTF-8 they tell of two encodings mixed.
_UTF8_AMONG_OTHERS = re.compile(
    rb"[\xc2-\xdf\xe2](?:(?<=[\xc2\xc3\xc5])[\x80-\xbf]|(?<=\xe2)\x80[\x90-\xaf]|[\x80-\xbf][\xc4-\xdf][\x80-\xbf])"
)

# What é, è, ê, œ, ’… of MacRoman, DOS or ISO-8859-15 look like when they are read as Windows-1252.
_LETTER = r"[^\W\d_]"
_SMALL = "[a-zß-öø-ÿœšž]"
_NEVER = "[ƒˆ˜‡‚]"  # É and à of the Macintosh, ç and é of DOS
_SIGN = "[„…†‰‹“”•–—™›‘]"
_CAPITAL = "[ŠŽŒŸËÌÍÎÏÔÕØÙÞ]"
_LATIN_9 = "[¤¦¨¸¼½¾]"
_READ_WRONGLY = re.compile(
    rf"[ƒˆ˜‡‚„…†‰‹“”•–—™›‘€×ŠŽŒŸËÌÍÎÏÔÕØÙÞ¤¦¨´¸¼½¾](?:(?<={_NEVER})"
    rf"|(?<={_LETTER}{_SIGN})(?={_SMALL})"  # No‘l, Beno”t, C™me, Lo‹c
    rf"|(?<={_LETTER}[€×])(?={_LETTER})"  # FRAN€OIS
    rf"|(?<={_LETTER}[‘“])"  # Zo‘
    rf"|(?<={_SMALL}{_CAPITAL})|(?<={_LETTER}{_CAPITAL})(?=[A-Z]?{_SMALL})"  # JosŽ, sÏur; LŽa, LÕHostis
    rf"|(?<={_LETTER}{_LATIN_9})|(?<!{_LETTER}.)(?<=[¤¦¨´¸¼½¾])(?={_LETTER}))"  # C½ur; ¼uvre, ´ižek
)
# These letters are ö, û, Ä… elsewhere: only trusted beside letters no other encoding has in the same place.
_DOUBTFUL = re.compile("[ŠŽšžŸ]")
_CERTAIN = re.compile("[à-ÿ](?:(?=[a-z])|(?<=[a-z].))")

# The csv module refuses cells of more than 128 kB unless told; the file is bounded as a whole, so no cell need be.
csv.field_size_limit(MAX_BYTES)


class RosterRefused(MatriculeError):
    """The file as a whole cannot be read; nothing of it was taken.

    Parameters:
      code: one of the file codes of ``models.words.Code``.
      detail: what was seen and what to do, in English for logs; without any value of the file.
    """

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code.value}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class RosterRow:
    """One person's cells as written. ``line`` is the physical line, from 1, on which the row begins."""

    line: int
    email: str
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class Roster:
    """A file that was read to its end. ``rows`` leaves out blank ones only."""

    rows: tuple[RosterRow, ...]
    encoding: str
    delimiter: str
    header_line: int


@dataclass(frozen=True, slots=True)
class _Header:
    line: int
    delimiter: str
    columns: dict[str, int]


def read_roster(data: bytes) -> Roster:
    """The rows of a CSV file in UTF-8 or Windows-1252, separated by commas or semicolons.

    Parameters:
      data: the whole file.

    Raises:
      RosterRefused: ``TOO_LARGE`` (over 50 MB or 200,000 rows), ``UNSUPPORTED_FORMAT``, ``ENCODING_NOT_RECOGNISED``,
        ``MISSING_COLUMN``, ``EMPTY_FILE`` or ``UNREADABLE_FILE`` (its quotes do not match).
    """
    if len(data) > MAX_BYTES:
        raise RosterRefused(Code.TOO_LARGE, f"over {MAX_BYTES} bytes; split the file")
    if data.removeprefix(_UTF8_MARK).lstrip().startswith(_SIGNATURES):
        raise RosterRefused(Code.UNSUPPORTED_FORMAT, "not a text file; save it as CSV")
    text, encoding = _decode(data)
    header = _find_header(text)
    rows = tuple(itertools.islice(_rows(text, header), MAX_ROWS + 1))
    if len(rows) > MAX_ROWS:
        raise RosterRefused(Code.TOO_LARGE, f"over {MAX_ROWS} rows; split the file")
    if not rows:
        raise RosterRefused(Code.EMPTY_FILE, "nobody below the header")
    return Roster(rows, encoding, header.delimiter, header.line)


def _decode(data: bytes) -> tuple[str, str]:
    """The text and its encoding: UTF-8 if every byte fits it, else Windows-1252 if nothing speaks against it."""
    if data.startswith(_UTF16_MARKS):
        raise _not_recognised("UTF-16")
    marked = data.startswith(_UTF8_MARK)
    try:
        return data.removeprefix(_UTF8_MARK).decode("utf-8"), "utf-8-sig" if marked else "utf-8"
    except UnicodeDecodeError:
        if marked or _UTF8_AMONG_OTHERS.search(data):
            raise _not_recognised("UTF-8 in places only") from None
    try:
        text = data.decode("windows-1252")
    except UnicodeDecodeError as error:
        raise _not_recognised(f"byte {error.start} is no character of Windows-1252") from None
    if _READ_WRONGLY.search(text) or (_DOUBTFUL.search(text) and not _CERTAIN.search(text)):
        raise _not_recognised("words come out damaged as Windows-1252")
    return text, "windows-1252"


def _not_recognised(seen: str) -> RosterRefused:
    return RosterRefused(Code.ENCODING_NOT_RECOGNISED, f"{seen}; save the file as CSV UTF-8")


def _find_header(text: str) -> _Header:
    """The first line that names all three columns, under the one delimiter that makes it do so."""
    found, unclosed = _headers(text)
    if found:
        return min(found, key=lambda header: header.line)
    if "\0" in text:  # with a header, a NUL spoils the row it stands in; without, this is no text we know
        if _headers(text.replace("\0", ""))[0]:
            raise _not_recognised("UTF-16 without its mark")
        raise RosterRefused(Code.UNSUPPORTED_FORMAT, "NUL bytes: not a text file; save it as CSV")
    if unclosed:
        raise unclosed[0]
    if not text.strip(WHITE_SPACE + "".join(_DELIMITERS)):
        raise RosterRefused(Code.EMPTY_FILE, "nothing in the file")
    raise RosterRefused(
        Code.MISSING_COLUMN, f"no line of the first {HEADER_LINES} names the columns first name, last name and e-mail"
    )


def _headers(text: str) -> tuple[list[_Header], list[RosterRefused]]:
    """The header found under each delimiter; and what to say of a quote that is never closed above one.

    Quotes that only look wrong under a delimiter tell that it is not the one.
    """
    found, unclosed = [], []
    for delimiter in _DELIMITERS:
        try:
            for line, cells in _records(text, delimiter):
                if line > HEADER_LINES:
                    break
                columns = _columns(cells)
                if columns.keys() == _ALIASES.keys():
                    found.append(_Header(line, delimiter, columns))
                    break
        except RosterRefused as error:
            if _UNCLOSED in error.detail:
                unclosed.append(error)
    return found, unclosed


def _columns(cells: list[str]) -> dict[str, int]:
    """Where our columns are; of two with the same meaning the leftmost counts."""
    columns: dict[str, int] = {}
    for index, cell in enumerate(cells[:_MOST_COLUMNS]):
        name = _column_name(cell)
        for field, aliases in _ALIASES.items():
            if name in aliases:
                columns.setdefault(field, index)
    return columns


def _column_name(cell: str) -> str:
    """A column name without what people vary: case, accents, spaces, hyphens, underscores, a final ``*`` or ``:``."""
    if len(cell) > _LONGEST_COLUMN_NAME:
        return ""
    bare = "".join(mark for mark in unicodedata.normalize("NFD", cell) if not unicodedata.combining(mark))
    name = _NO_PART_OF_A_COLUMN_NAME.sub("", bare).casefold()
    return name[:-1] if name.endswith(("*", ":")) else name


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the physical line it begins on. CRLF, CR and LF each end a line, inside quotes too.

    The csv module is asked to be strict: else it would close a quote left open at the end of the file, and everybody
    below it would have gone into one cell.
    """
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in lines:
            yield line, cells
            line = lines.line_num + 1
    except csv.Error as error:
        raise RosterRefused(Code.UNREADABLE_FILE, f"quotes do not match in the row of line {line} ({error})") from error


def _rows(text: str, header: _Header) -> Iterator[RosterRow]:
    """The rows below the header; cells missing at the end of a row are empty."""
    email, first_name, last_name = (header.columns[field] for field in ("email", "first_name", "last_name"))
    missing = [""] * (max(header.columns.values()) + 1)
    for line, cells in _records(text, header.delimiter):
        if line > header.line and any(cell.strip(WHITE_SPACE) for cell in cells):
            padded = cells + missing
            yield RosterRow(line, padded[email], padded[first_name], padded[last_name])
