"""Makes text printable: a character that the fonts cannot draw is replaced.

Under PDF/A and PDF/UA one character without a glyph makes a whole document fail. A name with an emoji must not.
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
"""A word with more characters may be broken over two lines, unless it is a name."""

ZERO_WIDTH_SPACE: Final = "\N{ZERO WIDTH SPACE}"

# These two are part of the spelling of names in Arabic and Indic scripts.
_JOINERS: Final = "\u200c\u200d"
_DROPPED: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
_APART: Final = frozenset({"Mn", "Mc", "Me", "Cf"})
_SPACES: Final = re.compile(r"\s+")
_NO_CHARACTERS: Final = frozenset({"Co", "Cs", "Cn"})
"""Private, halves of pairs, unassigned: ``printable`` leaves them out, but people may have seen something there."""


def printable(text: str) -> str:
    """Returns the text as the fonts can draw it, in NFC.

    Control, private, unassigned and direction characters are left out, and white space becomes one space. A run of
    characters that no font has becomes one U+FFFD.
    """
    composed = unicodedata.normalize("NFC", _without_surrogates(text))
    drawn = "".join(_drawn(composed))
    return _SPACES.sub(" ", re.sub(f"{REPLACEMENT}{{2,}}", REPLACEMENT, drawn)).strip()


def is_printable(text: str) -> bool:
    """Tells whether the fonts can print this text to the letter: nothing is replaced, and nothing visible left out.

    A letter and the marks on it must be in one font: Typst draws no glyph for a mark beside a letter of another font.
    """
    composed = unicodedata.normalize("NFC", text)
    if any(unicodedata.category(one) in _NO_CHARACTERS or one == REPLACEMENT for one in composed):
        return False
    drawn = printable(text)
    return REPLACEMENT not in drawn and all(_of_one_family(cluster) for cluster in _clusters(drawn))


def _clusters(text: str) -> Iterator[str]:
    """Yields each character with the marks and joiners that follow it."""
    cluster = ""
    for character in text:
        if cluster and unicodedata.category(character) not in _APART:
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _of_one_family(cluster: str) -> bool:
    needed = {ord(one) for one in cluster if one not in _JOINERS}
    return any(needed <= known for known in _families())


def breakable(text: str) -> str:
    """Makes text printable and lets very long words break. Not for names: the breaks show in copied text."""
    return " ".join(_broken(word) for word in printable(text).split(" "))


def words_of(*texts: str) -> list[str]:
    """Returns the words that no line break can divide."""
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
            # The fonts may have a letter and its marks, but not the two composed into one character.
            apart = unicodedata.normalize("NFD", character)
            yield apart if all(ord(one) in known for one in apart) else REPLACEMENT


def without_marks(text: str) -> str:
    """Removes the marks and joiners that are characters of their own.

    A mark of one script and a letter of another are in different fonts, and Typst finds no glyph for the pair.
    """
    return "".join(one for one in printable(text) if unicodedata.category(one) not in _APART)


def of_one_font(text: str) -> str:
    """Removes marks and keeps the letters of the first font (Latin, Greek, Cyrillic); the others become U+FFFD."""
    return "".join(one if ord(one) in _of_the_first() else REPLACEMENT for one in without_marks(text))


@lru_cache(maxsize=1)
def _of_the_first() -> frozenset[int]:
    with TTFont(FONTS / "NotoSans-Regular.ttf", lazy=True) as font:
        return _characters() & set(font.getBestCmap() or {})


@lru_cache(maxsize=1)
def _families() -> tuple[frozenset[int], ...]:
    """Returns the characters of each family of fonts, in every weight of it."""
    of_family: dict[str, list[set[int]]] = {}
    for file in sorted(FONTS.glob("*.ttf")):
        if "Display" in file.name:
            continue
        with TTFont(file, lazy=True) as font:
            of_family.setdefault(file.stem.rpartition("-")[0], []).append(set(font.getBestCmap() or {}))
    return tuple(frozenset(set.intersection(*weights)) for weights in of_family.values())


@lru_cache(maxsize=1)
def _characters() -> frozenset[int]:
    """Returns the characters that every weight of the fonts can draw: a name is set in more than one weight."""
    by_weight: dict[str, set[int]] = {}
    for file in sorted(FONTS.glob("*.ttf")):
        if "Display" in file.name:
            continue
        with TTFont(file, lazy=True) as font:
            by_weight.setdefault(file.stem.rpartition("-")[2], set()).update(font.getBestCmap() or {})
    return frozenset(set.intersection(*by_weight.values()))
