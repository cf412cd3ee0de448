"""`fit` in the templates makes assumptions about our fonts, which are tested here."""

from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from workers.documents.printable import FONTS

MOST_EM_PER_BYTE = 2.7


@pytest.mark.parametrize("file", sorted(FONTS.glob("*.ttf")), ids=lambda file: file.stem)
def test_no_glyph_is_wider_than_its_bytes_say(file: Path) -> None:
    """Words that fit at 2.7 em per byte are too short to be measured."""
    with TTFont(file, lazy=True) as font:
        units, advances = font["head"].unitsPerEm, font["hmtx"]
        widths = {
            chr(code): advances[glyph][0] / units / len(chr(code).encode())
            for code, glyph in (font.getBestCmap() or {}).items()
        }
    assert max(widths.values()) <= MOST_EM_PER_BYTE


def test_the_template_counts_with_it() -> None:
    assert f"longest * {MOST_EM_PER_BYTE} * from" in (FONTS.parent / "templates" / "shared.typ").read_text()
