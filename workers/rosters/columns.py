"""Recognises the header of a roster by the names that French and English software gives to its columns."""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from models.label import BIDI_CONTROL, WHITE_SPACE, ZERO_WIDTH, trim
from workers.rosters.column_names import BESIDE_ANOTHER, COLUMN_NAMES, NO_PART, OF_WHOM, OF_WHOM_BEFORE
from workers.rosters.quotes import without_spaces
from workers.rosters.spreadsheet import cell_text

HEADER_LINES: Final = 20
"""The header is searched in the first lines, this many; lines above it are a title."""

DELIMITERS: Final = (";", ",", "\t", "|")

NEEDED: Final = frozenset({"first_name", "last_name", "email"})

LONGEST_HEADER: Final = 50_000
"""The most characters of a header with all its cells: to look for names in longer rows would take minutes."""

_LONGEST_COLUMN_NAME: Final = 100
_INVISIBLE: Final = "\u034f\u180e\ufe00-\ufe0f" + BIDI_CONTROL
_NO_PART_OF_A_COLUMN_NAME: Final = re.compile(rf"[{re.escape(WHITE_SPACE + ZERO_WIDTH)}{_INVISIBLE}_\-‐‑–'’´`.]+")
_BETWEEN_LANGUAGES: Final = re.compile(r"[/|\r\n()\[\]]|\s[-–—]\s")
"""Signs between the two names of a bilingual column: "Nom / Last name", "Nom (Last name)"."""


class Meaning(NamedTuple):
    """The field that a column name stands for, and its place in the order of preference, from 0."""

    field: str
    rank: int


@dataclass(frozen=True, slots=True)
class RosterColumn:
    """A column as the file names it; `number` counts from 1."""

    number: int
    header: str


@dataclass(frozen=True, slots=True)
class RosterHeader:
    """The header row of a file.

    Parameters:
      line: the physical line, or the row of a sheet, from 1.
      columns: the columns of our fields that were found.
      ignored: the other columns that have a name; kept for the file of errors.
      inner: the delimiter inside the first cell, where a whole row sits in one; else None.
    """

    line: int
    columns: dict[str, RosterColumn]
    ignored: tuple[RosterColumn, ...]
    inner: str | None = None

    @property
    def width(self) -> int:
        """The number of cells a row needs so that every field has one."""
        return max(column.number for column in self.columns.values())


def read_header(line: int, cells: Sequence[str]) -> RosterHeader | None:
    """Reads a row as the header, from its cells or from the one cell that holds them all; None for any other row."""
    if sum(map(len, cells)) > LONGEST_HEADER:
        return None
    found = _header(line, cells, None)
    if found is None and (whole := only_cell(cells)):
        for inner in DELIMITERS:
            if inner in whole:
                found = found or _header(line, split_cell(whole, inner), inner)
    return found


def _header(line: int, cells: Sequence[str], inner: str | None) -> RosterHeader | None:
    """Reads the cells as a header. Of two columns for one field the preferred name counts, then the leftmost."""
    named = [(number, cell, read_column_name(cell)) for number, cell in enumerate(cells, start=1)]
    best: dict[str, tuple[int, RosterColumn]] = {}
    for number, cell, meaning in named:
        if meaning is not None and (meaning.field not in best or meaning.rank < best[meaning.field][0]):
            best[meaning.field] = (meaning.rank, RosterColumn(number, cell))
    if not best.keys() >= NEEDED:
        return None
    columns = {field: column for field, (_, column) in best.items()}
    used = {column.number for column in columns.values()}
    ignored = [RosterColumn(number, cell) for number, cell, _ in named if number not in used and trim(cell)]
    return RosterHeader(line, columns, tuple(ignored), inner)


def read_column_name(cell: str) -> Meaning | None:
    """Returns what a column name stands for, in one language or in two; None for other columns."""
    if not cell or len(cell) > _LONGEST_COLUMN_NAME:
        return None
    text = cell_text(cell)
    found = _meanings().get(column_name(text))
    if found is not None or not _BETWEEN_LANGUAGES.search(text):
        return found
    parts = [part for part in map(column_name, _BETWEEN_LANGUAGES.split(text)) if part and part not in _no_parts()]
    known = {part: _meanings().get(part) for part in parts}
    same = {one.field if one else BESIDE_ANOTHER.get(part) for part, one in known.items()}
    return next(filter(None, known.values()), None) if len(same) == 1 else None


def column_name(cell: str) -> str:
    """Normalises a column name: without case, accents, invisible signs, spaces, hyphens, underscores, apostrophes and
    dots, and without ``*`` or ``:`` at the end.
    """
    if len(cell) > _LONGEST_COLUMN_NAME:
        return ""
    bare = "".join(mark for mark in unicodedata.normalize("NFD", cell) if not unicodedata.combining(mark))
    return _NO_PART_OF_A_COLUMN_NAME.sub("", bare).casefold().rstrip("*:")


@cache
def _meanings() -> dict[str, Meaning]:
    """Returns the fields by the normalised names of their columns."""
    found: dict[str, Meaning] = {}
    for field, groups in COLUMN_NAMES.items():
        for rank, names in enumerate(groups):
            behind = (f"{name} {whom}" for name in names for whom in OF_WHOM)
            before = (f"{whom} {name}" for name in names for whom in OF_WHOM_BEFORE)
            for name in (*names, *behind, *before):
                found.setdefault(column_name(name), Meaning(field, rank))
    return found


@cache
def _no_parts() -> frozenset[str]:
    return frozenset(map(column_name, NO_PART))


def only_cell(cells: Sequence[str]) -> str:
    """Returns the first cell when all others are empty; else an empty text."""
    if not cells or any(cell.strip(WHITE_SPACE) for cell in cells[1:]):
        return ""
    return cells[0]


def split_cell(cell: str, delimiter: str) -> list[str]:
    """Splits the cells inside one cell. A line break is part of a value, quoted or not: no text after it is dropped."""
    cells: list[str] = []
    try:
        inner = without_spaces(cell.rstrip("\r\n"), delimiter)
        for further in csv.reader(io.StringIO(inner, newline=""), delimiter=delimiter):
            joined = [f"{cells.pop()}\n{further[0] if further else ''}", *further[1:]] if cells else further
            cells += joined
    except csv.Error:  # longer than any cell may be
        return [cell]
    return cells
