"""What companies and organisations may have printed on certificates: colours, and the limits of pictures."""

import re
from typing import Final

from models.words import Code

LEAST_CONTRAST: Final = 4.5
"""Of text with its ground (WCAG 2.2, success criterion 1.4.3)."""

MOST_BYTES: Final = 130_000
"""Of a picture as it is handed over: in base64 the message with it stays under what the queue takes."""

MOST_PIXELS: Final = 4_000
"""In each direction."""

PRINTED_SIDE: Final = 600
"""Pixels a picture is reduced to in each direction: 50 mm at 300 dots an inch."""

_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")


def clean_colour(typed: str) -> str | Code:
    """A colour text can be read in on white, as ``#rrggbb`` in lower case.

    Returns: the colour; or ``INVALID_COLOUR`` if it is none, ``LOW_CONTRAST`` if it is too light.
    """
    colour = typed.strip().lower()
    if not _COLOUR.fullmatch(colour):
        return Code.INVALID_COLOUR
    return colour if contrast_with_white(colour) >= LEAST_CONTRAST else Code.LOW_CONTRAST


def contrast_with_white(colour: str) -> float:
    """The contrast ratio with white, 1 to 21 (WCAG 2.2, definition of contrast ratio and relative luminance)."""
    red, green, blue = (_linear(int(colour[start : start + 2], 16) / 255) for start in (1, 3, 5))
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def _linear(channel: float) -> float:
    return float(channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4)
