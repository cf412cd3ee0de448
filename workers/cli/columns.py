"""Prints rows in columns, each on one line, so that identifiers can be copied and lines be searched."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from workers.cli.edge import console

GAP = "  "


def print_columns(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints rows below their headings; a cell is put on one line, None is left empty."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
    out = console()
    for number, line in enumerate([headings, *cells]):
        text = GAP.join(cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        out.print(Text(text.rstrip(), "" if number else "bold"), soft_wrap=True)


def _cell(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())
