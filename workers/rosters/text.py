"""Reads delimited text as a stream of records, and finds its header and the delimiter."""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO, Final

from models.label import WHITE_SPACE
from models.words import Code
from workers.rosters.columns import DELIMITERS, HEADER_LINES, RosterHeader, read_header
from workers.rosters.encoding import codec, not_recognised
from workers.rosters.misread import ONE_BYTE, is_damaged
from workers.rosters.quotes import without_spaces
from workers.rosters.refused import RosterRefused

LONGEST_ROW: Final = 2_000_000
"""The most characters of a row with all its lines: a row of delimiters would else fill the memory."""

MOST_COLUMNS: Final = 16_384
"""The most cells of a row: a spreadsheet has no more columns."""

MOST_CELLS: Final = 50_000_000
"""The most cells of a file, also empty ones: fifty columns of a million rows."""

MOST_LINES: Final = 3_000_000
"""The most lines of a file, also blank ones: a million rows with two line breaks in each."""

UNCLOSED: Final = "unexpected end of data"
"""The message of the csv module for a quote that is still open at the end of the file, or of the longest row."""

csv.field_size_limit(LONGEST_ROW)  # of the process, when this module is first imported

Record = tuple[int, list[str]]
"""The physical line a record begins on, from 1, and its cells."""


def records(file: BinaryIO, encoding: str, delimiter: str) -> Iterator[Record]:
    """Yields each record with the physical line it begins on. CRLF, CR and LF each end a line, inside quotes too.

    The csv module is strict here: else it would close a quote left open at the end of the file, and all people below
    that quote would be in one cell. A byte without a letter becomes U+FFFD: it is no matter in a column that is not
    used.

    Raises:
      RosterRefused: ``UNREADABLE_FILE`` when quotes do not match, ``TOO_LARGE`` for more characters, cells or lines
        than any roster has.
    """
    file.seek(0)
    text = _decoded(file, encoding)
    lines = _BoundedLines(text, delimiter)
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        line = 1
        left = MOST_CELLS
        for cells in reader:
            left -= len(cells)
            if len(cells) > MOST_COLUMNS or left < 0:
                raise _too_large(f"over {MOST_COLUMNS} cells in a row, or {MOST_CELLS} in all")
            yield line, cells
            line = lines.next_row(reader.line_num)
    except csv.Error as error:
        raise RosterRefused(Code.UNREADABLE_FILE, f"quotes do not match in the row of line {line} ({error})") from error
    finally:
        text.detach()  # the file stays open, because the caller owns it


def _decoded(file: BinaryIO, encoding: str) -> io.TextIOWrapper:
    errors = "replace" if encoding in ONE_BYTE else "strict"
    return io.TextIOWrapper(file, codec(encoding), errors, newline="")


class _BoundedLines:
    """The lines of a text without spaces around quoted cells, until a row or the text is longer than any roster's."""

    def __init__(self, text: io.TextIOWrapper, delimiter: str) -> None:
        self._text = text
        self._delimiter = delimiter
        self._left = LONGEST_ROW

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, inside = self._text.readline(LONGEST_ROW + 1), self._left < LONGEST_ROW
        if len(line) > self._left:
            if inside:  # the row has earlier lines, so a quote is open
                raise csv.Error(UNCLOSED)
            raise _too_large(f"a row of over {LONGEST_ROW} characters")
        self._left -= len(line)
        if not line:
            raise StopIteration
        return without_spaces(line, self._delimiter, inside=inside) if '"' in line else line

    def next_row(self, lines: int) -> int:
        """Lets a new row begin after so many lines; returns the number of its first line, from 1."""
        if lines >= MOST_LINES:
            raise _too_large(f"over {MOST_LINES} lines")
        self._left = LONGEST_ROW
        return lines + 1


def _too_large(seen: str) -> RosterRefused:
    return RosterRefused(Code.TOO_LARGE, f"{seen}; split the file, or remove its empty rows and columns")


def find_header(file: BinaryIO, encoding: str) -> tuple[str, RosterHeader]:
    """Returns the delimiter and the first line that names all three columns with it.

    Raises:
      RosterRefused: ``MISSING_COLUMN``, ``EMPTY_FILE``, ``UNREADABLE_FILE`` or, for a text full of NUL,
        ``ENCODING_NOT_RECOGNISED`` or ``UNSUPPORTED_FORMAT``.
    """
    found, unclosed = _headers(file, encoding)
    if found:
        # A row in one quoted cell reads the same with each delimiter: take its inner one, which other rows may use.
        return min(found, key=lambda one: (one[1].line, one[1].inner is not None, one[1].inner != one[0]))
    raise _without_header(file, encoding, unclosed)


def _headers(file: BinaryIO, encoding: str) -> tuple[list[tuple[str, RosterHeader]], list[RosterRefused]]:
    """Returns the header under each delimiter that gives one, and quotes never closed and lines too long."""
    found: list[tuple[str, RosterHeader]] = []
    unclosed: list[RosterRefused] = []
    for delimiter in DELIMITERS:
        try:
            header = _header(file, encoding, delimiter)
        except RosterRefused as error:
            # Quotes that are wrong only with this delimiter show that it is another one.
            if UNCLOSED in error.detail or error.code is Code.TOO_LARGE:
                unclosed.append(error)
            continue
        if header is not None:
            found.append((delimiter, header))
    return found, unclosed


def _header(file: BinaryIO, encoding: str, delimiter: str) -> RosterHeader | None:
    for line, cells in records(file, encoding, delimiter):
        if line > HEADER_LINES:
            return None
        if header := read_header(line, cells):
            return header
    return None


def _without_header(file: BinaryIO, encoding: str, unclosed: list[RosterRefused]) -> RosterRefused:
    """Returns why no header was found: an empty file, another kind of file, a quote never closed, or no such line."""
    binary = None if encoding.startswith("utf-16") else _look_at_nul(file)
    if binary is not None:
        return binary
    if unclosed:
        return unclosed[0]
    if not _holds_anything(file, encoding):
        return RosterRefused(Code.EMPTY_FILE, "nothing in the file")
    if _has_header_otherwise(file, encoding):
        return not_recognised("the header is in another encoding, or was encoded twice")
    seen = f"no line of the first {HEADER_LINES} names the columns first name, last name and e-mail"
    return RosterRefused(Code.MISSING_COLUMN, seen)


_LOOKED_AT: Final = 2_000
"""Bytes of a text without a header that are looked at for damage."""

_OTHER_ENCODINGS: Final = ("mac-roman", "cp850", "cp437", "utf-8")
_READ_BEFORE: Final = ("cp1252", "latin-1", "mac-roman", "cp850")
"""Encodings in which UTF-8 is read by mistake and then encoded again."""


def _has_header_otherwise(file: BinaryIO, encoding: str) -> bool:
    """Tells whether the beginning is damaged, or names the columns when it is read in another encoding."""
    file.seek(0)
    beginning = file.read(1 << 16)
    if encoding in ONE_BYTE:
        damaged = is_damaged(beginning[:_LOOKED_AT].decode(encoding, "replace"), encoding)
        return damaged or any(_names_columns(beginning.decode(other, "replace")) for other in _OTHER_ENCODINGS)
    text = beginning.decode(codec(encoding), "ignore")
    return any(_names_columns(text.encode(before, "ignore").decode("utf-8", "replace")) for before in _READ_BEFORE)


def _names_columns(beginning: str) -> bool:
    return bool(_headers(io.BytesIO(beginning.encode("utf-8", "replace")), "utf-8")[0])


def check_binary(file: BinaryIO) -> None:
    """Checks that a file in an unknown encoding is text at all.

    Raises:
      RosterRefused: ``UNSUPPORTED_FORMAT`` for a picture, an archive, a program.
    """
    seen = _look_at_nul(file)
    if seen is not None and seen.code is Code.UNSUPPORTED_FORMAT:
        raise seen


def _look_at_nul(file: BinaryIO) -> RosterRefused | None:
    """Returns why a file with NUL bytes is refused: without them, UTF-16 that lacks its mark has a header."""
    file.seek(0)
    beginning = file.read(1 << 16)
    if b"\0" not in beginning:
        return None
    try:
        find_header(io.BytesIO(beginning.replace(b"\0", b"")), "latin-1")
    except RosterRefused:
        return RosterRefused(Code.UNSUPPORTED_FORMAT, "NUL bytes: not a text file; save it as CSV")
    return not_recognised("UTF-16 without its mark")


def _holds_anything(file: BinaryIO, encoding: str) -> bool:
    nothing = WHITE_SPACE + "".join(DELIMITERS) + '"'
    file.seek(0)
    text = _decoded(file, encoding)
    try:
        return any(part.strip(nothing) for part in iter(lambda: text.read(1 << 16), ""))
    finally:
        text.detach()
