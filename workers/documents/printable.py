"""Text made printable: what a font cannot draw is shown as such, and never fatal.

Under PDF/A and PDF/UA one character without a glyph refuses a whole document. A name with an emoji must not.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from fontTools.ttLib import TTFont

FONTS: Final = Path(__file__).parent / "fonts"
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
LONGEST_WORD: Final = 40
"""Characters after which a word may be broken where it is not a name."""

ZERO_WIDTH_SPACE: Final = "\N{ZERO WIDTH SPACE}"

# Names in Arabic script and in Indic ones are spelt with these two.
_JOINERS: Final = "\u200c\u200d"
_DROPPED: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
_APART: Final = frozenset({"Mn", "Mc", "Me", "Cf"})
_SPACES: Final = re.compile(r"\s+")


def printable(text: str) -> str:
    """The text as the fonts can draw it, in NFC: control, private, unassigned and direction characters are left out,
    white space is one space, and what no font has is U+FFFD, once for a run of them.
    """
    composed = unicodedata.normalize("NFC", _without_surrogates(text))
    drawn = "".join(_drawn(composed))
    return _SPACES.sub(" ", re.sub(f"{REPLACEMENT}{{2,}}", REPLACEMENT, drawn)).strip()


def breakable(text: str) -> str:
    """The same, with places to break in words so long that no line holds them. Not for names: it shows in copies."""
    return " ".join(_broken(word) for word in printable(text).split(" "))


def words_of(*texts: str) -> list[str]:
    """The words no line break can divide."""
    return [part for text in texts for part in re.split(f"[ {ZERO_WIDTH_SPACE}]", text) if part]


def _broken(word: str) -> str:
    if len(word) <= LONGEST_WORD:
        return word
    return ZERO_WIDTH_SPACE.join(word[start : start + 10] for start in range(0, len(word), 10))


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _drawn(text: str) -> Iterator[str]:
    known = _characters()
    for character in text:
        if character.isspace():
            yield " "
        elif character in _JOINERS:
            yield character
        elif unicodedata.category(character) in _DROPPED:
            continue
        elif ord(character) in known:
            yield character
        else:
            # A base and its marks may have been composed into one the fonts lack, and be there apart.
            apart = unicodedata.normalize("NFD", character)
            yield apart if all(ord(one) in known for one in apart) else REPLACEMENT


def without_marks(text: str) -> str:
    """The text without the marks and joiners that stand apart from their letters.

    Marks of one script on letters of another are in fonts of their own, and Typst finds no glyph for the pair.
    """
    return "".join(one for one in printable(text) if unicodedata.category(one) not in _APART)


def of_one_font(text: str) -> str:
    """The same of Latin, Greek and Cyrillic letters, which are all in one font; U+FFFD for the others."""
    return "".join(one if ord(one) in _of_the_first() else REPLACEMENT for one in without_marks(text))


@lru_cache(maxsize=1)
def _of_the_first() -> frozenset[int]:
    with TTFont(FONTS / "NotoSans-Regular.ttf", lazy=True) as font:
        return _characters() & set(font.getBestCmap() or {})


@lru_cache(maxsize=1)
def _characters() -> frozenset[int]:
    """What every weight of the fonts can draw: a name is set in more than one."""
    by_weight: dict[str, set[int]] = {}
    for file in sorted(FONTS.glob("*.ttf")):
        if "Display" in file.name:
            continue
        with TTFont(file, lazy=True) as font:
            by_weight.setdefault(file.stem.rpartition("-")[2], set()).update(font.getBestCmap() or {})
    return frozenset(set.intersection(*by_weight.values()))
