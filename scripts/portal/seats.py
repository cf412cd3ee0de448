"""The strip under the counters: a cell for each seat, or from 61 on one bar in parts."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from markupsafe import Markup

MOST_CELLS: Final = 60

WIDTH: Final = 300.0
GAP: Final = 2.0


class SeatPart(NamedTuple):
    """Seats that look alike.

    Parameters:
      style: `used`, `more` (this import), `back` (comes back), `free`.
    """

    style: str
    seats: int


def seat_strip(label: str, *, used: int, free: int, more: int = 0, back: int = 0) -> Markup:
    """Draws the seats of a contract.

    Parameters:
      label: what the drawing says, for people who do not see it.
      used: seats that stay used, without those of `back`.
      more: seats that a request would use; back: seats that it would give back.
    """
    named = (("used", used), ("more", more), ("back", back), ("free", free))
    parts = [SeatPart(style, max(0, seats)) for style, seats in named]
    total = sum(part.seats for part in parts)
    cells = _cells(parts) if total <= MOST_CELLS else _bars(parts, total)
    return Markup(
        '<svg class="strip" viewBox="0 0 {} 10" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(f"{WIDTH:g}", label, Markup("").join(cells))


def _rectangle(style: str, left: float, width: float) -> Markup:
    line = Markup('<rect class="{}" x="{}" y=".5" width="{}" height="9"/>')
    return line.format(style, f"{left:.2f}", f"{max(width, 0.5):.2f}")


def _cells(parts: Iterable[SeatPart]) -> list[Markup]:
    styles = [part.style for part in parts for _ in range(part.seats)]
    step = WIDTH / max(1, len(styles))
    gap = min(GAP, step / 4)
    width = (WIDTH - gap * (len(styles) - 1)) / max(1, len(styles))
    return [_rectangle(style, at * (width + gap), width) for at, style in enumerate(styles)]


def _bars(parts: Iterable[SeatPart], total: int) -> list[Markup]:
    drawn, left = [], 0.0
    for part in parts:
        width = WIDTH * part.seats / total
        if part.seats:
            drawn.append(_rectangle(part.style, left, width))
        left += width
    return drawn
