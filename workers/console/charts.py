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


def _line(points: Sequence[float], width: int, height: int, *, most: float = 0.0) -> list[str]:
    if not points:
        return []
    values = [*points, *points] if len(points) == 1 else list(points)
    most, step = most or max(*values, 1e-9), width / (len(values) - 1)
    room = height - 2 * _MARGIN + 1
    return [
        f"{place * step:.1f},{height - 1 - room * max(value, 0.0) / most:.1f}" for place, value in enumerate(values)
    ]


def curve(lines: Sequence[tuple[Sequence[float], str]], words: str, marks: Sequence[float] = ()) -> Markup:
    """Draws a large curve of several lines over the same time, which share one scale.

    Parameters:
      lines: for each its values, the oldest first, and its class; the first is filled.
      marks: places of upright lines, from 0 (the oldest) to 1, such as deployments.
    """
    width, height = 600, 120
    most = max((value for points, _ in lines for value in points), default=0.0)
    drawn = [(_line(points, width, height, most=most), kind) for points, kind in lines]
    upright = Markup("").join(
        Markup('<path class="mark-line" d="M{:.1f} 0V{}"/>').format(width * place, height) for place in marks
    )
    shapes = Markup("").join(
        _shape(points, width, height)
        if not place
        else Markup('<polyline class="{}" points="{}"/>').format(kind, " ".join(points))
        for place, (points, kind) in enumerate(drawn)
    )
    return Markup(
        '<svg class="curve" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>'
    ).format(width, height, words, shapes, upright)
