"""Recognises the header of a roster by the names that French and English software gives to its columns."""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from models.label import WHITE_SPACE

HEADER_LINES: Final = 20
"""The header is searched in the first lines, this many; lines above it are a title."""

DELIMITERS: Final = (";", ",", "\t", "|")

ALIASES: Final = {
    "first_name": {"prenom", "firstname", "givenname"},
    "last_name": {"nom", "nomdefamille", "lastname", "surname"},
    "email": {"email", "courriel", "adressemail", "adresseelectronique", "mel"},
    "locale": {"langue", "locale"},
    "external_id": {"matricule", "id", "externalid"},
}
"""Our columns and their other names, in the form that ``column_name`` makes."""

NEEDED: Final = frozenset({"first_name", "last_name", "email"})

LONGEST_HEADER: Final = 50_000
"""The most characters of a header with all its cells: to look for names in longer rows would take minutes."""

_FIELDS: Final = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
_LONGEST_COLUMN_NAME: Final = 100
_NO_PART_OF_A_COLUMN_NAME: Final = re.compile(rf"[{re.escape(WHITE_SPACE)}_\-‐‑]+")


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
    columns: dict[str, RosterColumn] = {}
    ignored = []
    for number, cell in enumerate(cells, start=1):
        name = _FIELDS.get(column_name(cell))
        if name is not None and name not in columns:
            columns[name] = RosterColumn(number, cell)
        elif cell.strip(WHITE_SPACE):
            ignored.append(RosterColumn(number, cell))
    if not columns.keys() >= NEEDED:
        return None
    return RosterHeader(line, columns, tuple(ignored), inner)


def column_name(cell: str) -> str:
    """Normalises a column name: without case, accents, spaces, hyphens, underscores and a final ``*`` or ``:``."""
    if len(cell) > _LONGEST_COLUMN_NAME:
        return ""
    bare = "".join(mark for mark in unicodedata.normalize("NFD", cell) if not unicodedata.combining(mark))
    name = _NO_PART_OF_A_COLUMN_NAME.sub("", bare).casefold()
    return name[:-1] if name.endswith(("*", ":")) else name


def only_cell(cells: Sequence[str]) -> str:
    """Returns the first cell when all others are empty; else an empty text."""
    if not cells or any(cell.strip(WHITE_SPACE) for cell in cells[1:]):
        return ""
    return cells[0]


def split_cell(cell: str, delimiter: str) -> list[str]:
    """Splits the cells inside one cell. A line break is part of a value, quoted or not: no text after it is dropped."""
    cells: list[str] = []
    try:
        for further in csv.reader(io.StringIO(cell.rstrip("\r\n"), newline=""), delimiter=delimiter):
            joined = [f"{cells.pop()}\n{further[0] if further else ''}", *further[1:]] if cells else further
            cells += joined
    except csv.Error:  # longer than any cell may be
        return [cell]
    return cells
