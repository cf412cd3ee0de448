"""What somebody who guesses passwords tries first: known ones, rows of keys, repetitions, and the person's own data.

NIST SP 800-63B-4, 3.1.1.2 asks that a new password be compared with those in use, expected or compromised: lists of
leaks, repeated or sequential characters, and words of the context such as the name of the service or of the person.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

COMMON: Final = Path(__file__).with_name("common_passwords.txt")
LONG: Final = 15
"""Characters from which an entry of the list is a whole password; a shorter one is a word."""

LEAST_GUESSES: Final = 6
"""Characters that nothing announces. "quatre mots bien longs" has 18, "123456789azertyuiop" has 2."""

LEAST_WORD: Final = 3
"""Characters of a name or a part of an address that count as the person's own: "Li" is in too many words."""

_ROWS: Final = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    *("azertyuiop", "qsdfghjklm", "wxcvbn"),
    *("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    *("1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "1aqw", "2zsx"),
)
_STEPS: Final = frozenset(pair for row in _ROWS for one, other in pairwise(row) for pair in (one + other, other + one))
_NOT_A_WORD: Final = re.compile(r"[\W_]+")


def is_common(password: str) -> bool:
    """Whether a password is known to those who guess, or little more than a row of keys, a repetition or one word.

    Capitals, accents, spaces and signs make no difference, since they make none to whoever guesses.
    """
    whole = plain(password)
    known, words = _listed()
    squeezed = _NOT_A_WORD.sub("", whole)
    if whole in known or squeezed in known or guesses(whole) < LEAST_GUESSES:
        return True
    return any(word in squeezed and guesses(squeezed.replace(word, "")) < LEAST_GUESSES for word in words)


def is_personal(password: str, own: Iterable[str]) -> bool:
    """Whether little is left of a password without what everybody knows of the person.

    Parameters:
      own: their address and names, and the name of the platform.
    """
    left = _NOT_A_WORD.sub("", plain(password))
    before = left
    for word in sorted(_words_of(own), key=len, reverse=True):
        left = left.replace(word, "")
    return left != before and guesses(left) < LEAST_GUESSES


def guesses(text: str) -> int:
    """How many of its characters are announced by nothing: no row of keys, alphabet or repetition leads to them.

    Each character is compared with the one before it, or, for two rows typed in turn (1a2z3e), with the one before
    that; a text that repeats itself counts once.
    """
    once = text[: _period(text)]
    return min(_unannounced(once, 1), _unannounced(once, 2))


def plain(text: str) -> str:
    """In lower case and without accents."""
    spelt = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in spelt if not unicodedata.combining(character))


def _period(text: str) -> int:
    """The length of what a text repeats, at least twice and the last time perhaps cut; else its whole length."""
    return next((n for n in range(1, len(text) // 2 + 1) if text.startswith(text[n:])), len(text))


def _unannounced(text: str, stride: int) -> int:
    free = min(stride, len(text))
    pairs = zip(text, text[stride:], strict=False)
    return free + sum(one != other and one + other not in _STEPS for one, other in pairs)


def _words_of(own: Iterable[str]) -> Iterator[str]:
    for value in own:
        whole = plain(value)
        parts = [*_NOT_A_WORD.split(whole), _NOT_A_WORD.sub("", whole), _NOT_A_WORD.sub("", whole.partition("@")[0])]
        yield from {part for part in parts if len(part) >= LEAST_WORD}


@lru_cache(maxsize=1)
def _listed() -> tuple[frozenset[str], tuple[str, ...]]:
    """The whole passwords of the list, and its words."""
    lines = COMMON.read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    return frozenset(e for e in entries if len(e) >= LONG), tuple(e for e in entries if len(e) < LONG)
