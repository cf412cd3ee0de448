"""Draws the curves of the console as SVG: they need no script, print, and have a sentence for those who do not see."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

WIDTH: Final = 120
HEIGHT: Final = 22
_MARGIN: Final = 2.0


def spark(points: Sequence[float], words: str, *, need: bool = False) -> Markup:
    """Draws a small curve.

    Parameters:
      points: the values at equal distances, the oldest first; the curve begins at 0 and ends at the greatest.
      words: what the curve shows, in a sentence.
      need: colour it, because what it shows needs a person.
    """
    drawn = _line(points, WIDTH, HEIGHT)
    return Markup(
        '<svg class="spark{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(" need" if need else "", WIDTH, HEIGHT, words, _shape(drawn, WIDTH, HEIGHT))


def _shape(drawn: Sequence[str], width: int, height: int) -> Markup:
    if not drawn:
        return Markup("")
    return Markup('<path class="area" d="M0 {} L{} L{} {}z"/><polyline points="{}"/>').format(
        height, " L".join(drawn), width, height, " ".join(drawn)
    )


def _line(points: Sequence[float], width: int, height: int) -> list[str]:
    if not points:
        return []
    values = [*points, *points] if len(points) == 1 else list(points)
    most, step = max(*values, 1e-9), width / (len(values) - 1)
    room = height - 2 * _MARGIN + 1
    return [f"{place * step:.1f},{height - 1 - room * max(value, 0.0) / most:.1f}" for place, value in enumerate(values)]
