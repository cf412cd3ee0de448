"""Words by which a participant is found: of their names, their address and the company's number for them.

Words are in small letters without accents, so that "Lefèvre", "LEFEVRE" and "lefevre" are one. A search finds the words
that begin with each of its own.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

MOST_WORDS: Final = 16
LONGEST_WORD: Final = 40
"""The most words of a person, and the most characters of each; more are left out."""

MOST_SEARCHED: Final = 6
LONGEST_SEARCH: Final = 200
"""The most words and characters of a search."""

_PIECE: Final = re.compile(r"[^\W_]+")
_LIGATURES: Final = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
"""Letters that Unicode does not take apart into a letter and a mark."""


def plain_letters(text: str) -> str:
    """Returns a text in small letters, without accents."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(one for one in apart if not unicodedata.combining(one))
    return letters.casefold().translate(_LIGATURES)


def words_of(first_name: str, last_name: str, email: str, external_id: str | None) -> str:
    """Returns the words of a participant, each once, with a space between two."""
    named = plain_letters(f"{last_name} {first_name} {external_id or ''}")
    found = [*_PIECE.findall(named), plain_letters(email)]
    return " ".join(dict.fromkeys(word[:LONGEST_WORD] for word in found[-MOST_WORDS:]))


def searched_words(text: str) -> list[str]:
    """Returns the words of a search; an address is one word. A word that begins another of them is left out.

    A search without a letter or digit has none.
    """
    given = plain_letters(text[:LONGEST_SEARCH]).split()
    pieces = [piece for word in given for piece in ([word] if "@" in word[1:] else _PIECE.findall(word))]
    cut = sorted({piece[:LONGEST_WORD] for piece in pieces}, key=len, reverse=True)
    kept: list[str] = []
    for word in cut:
        if not any(longer.startswith(word) for longer in kept):
            kept.append(word)
    return kept[:MOST_SEARCHED]


def is_found(words: Iterable[str], searched: Sequence[str]) -> bool:
    """Tells whether each searched word begins one of these words."""
    there = tuple(words)
    return all(any(word.startswith(one) for word in there) for one in searched)


def first_found(words: Iterable[str], searched: str) -> str | None:
    """Returns the first of these words, in the order of the code points, that begins with a searched word."""
    return min((word for word in words if word.startswith(searched)), default=None)
