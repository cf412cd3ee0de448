"""A new password must be hard to guess, and wrong passwords lock an account for a time.

NIST SP 800-63B-4, 3.1.1.2 asks that a new password be compared with those in use, expected or compromised: lists of
leaks, repeated or sequential characters, and words of the context such as the name of the service or of the person.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlmodel import Field

from models.base import Record, instant
from models.words import Code

MIN_PASSWORD = 15
"""Code points. NIST SP 800-63B-4, 3.1.1.2: a password that is the only factor has at least 15 characters."""

MAX_PASSWORD = 256
"""Code points. The same section asks for at least 64; a maximum keeps the cost of a hash small."""

# NFC makes a text at most four times shorter and takes quadratic time on a run of combining marks: a longer text is too
# long in any case and is not composed.
_LONGEST_COMPOSED = 4 * MAX_PASSWORD


def check_password(password: str, again: str, own: Iterable[str] = ()) -> Code | None:
    """Returns the code that says why a new password is refused, or None if it is accepted.

    Each code point counts as one character and every character is allowed: no digit or capital is required (NIST
    SP 800-63B-4, 3.1.1.2 forbids such rules). The NFC form is counted, compared and later hashed, because the same keys
    send ``é`` as one code point on one system and as two on another.

    Parameters:
      password: the text that the person typed.
      again: the text that the person typed the second time.
      own: well-known words of the person: address and names, and the name of the platform.

    Returns:
      ``PASSWORD_TOO_SHORT``, ``PASSWORD_TOO_LONG``, ``UNSAFE_VALUE`` (half a surrogate pair, which no keyboard sends
      and no encoding can carry to the hash), ``PASSWORDS_DIFFER``, ``PASSWORD_TOO_COMMON``, ``PASSWORD_TOO_PERSONAL``,
      in that order; or None.
    """
    if len(password) > _LONGEST_COMPOSED:
        return Code.PASSWORD_TOO_LONG
    composed = compose_password(password)
    if len(composed) < MIN_PASSWORD:
        return Code.PASSWORD_TOO_SHORT
    if len(composed) > MAX_PASSWORD:
        return Code.PASSWORD_TOO_LONG
    if any("\ud800" <= character <= "\udfff" for character in composed):
        return Code.UNSAFE_VALUE
    if len(again) > _LONGEST_COMPOSED or compose_password(again) != composed:
        return Code.PASSWORDS_DIFFER
    return _guessed_first(composed, own)


def _guessed_first(composed: str, own: Iterable[str]) -> Code | None:
    if is_common(composed):
        return Code.PASSWORD_TOO_COMMON
    return Code.PASSWORD_TOO_PERSONAL if is_personal(composed, own) else None


def compose_password(password: str) -> str:
    """Returns the form of a password that is hashed, when it is chosen and each time it is checked."""
    return unicodedata.normalize("NFC", password)


COMMON_PASSWORDS: Final = Path(__file__).with_name("common_passwords.txt")
WHOLE_PASSWORD: Final = 15
"""An entry of the list with this many characters or more is a whole password; a shorter one is a word."""

LEAST_GUESSES: Final = 6
"""A password needs so many unpredictable characters: "quatre mots bien longs" has 18, "123456789azertyuiop" has 2."""

LEAST_WORD: Final = 3
"""A name or a part of an address counts from this many characters on: "Li" occurs in too many words."""

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
    """Whether a password is on the list, or is little more than a row of keys, a repetition or one word of the list.

    Capitals, accents, spaces and signs make no difference, because an attacker tries them all.
    """
    whole = plain_letters(password)
    known, words = _listed()
    squeezed = _NOT_A_WORD.sub("", whole)
    if whole in known or squeezed in known or guesses(whole) < LEAST_GUESSES:
        return True
    return any(word in squeezed and guesses(squeezed.replace(word, "")) < LEAST_GUESSES for word in words)


def is_personal(password: str, own: Iterable[str]) -> bool:
    """Whether little is left of a password without the well-known words of the person.

    Parameters:
      own: the person's address and names, and the name of the platform.
    """
    left = _NOT_A_WORD.sub("", plain_letters(password))
    before = left
    for word in sorted(_words_of(own), key=len, reverse=True):
        left = left.replace(word, "")
    return left != before and guesses(left) < LEAST_GUESSES


def guesses(text: str) -> int:
    """Counts the unpredictable characters: no row of keys, no alphabet and no repetition leads to them.

    Each character is compared with the one before it, or, for two rows typed in turn (1a2z3e), with the one before
    that. A repeated text counts once.
    """
    once = text[: _period(text)]
    return min(_unannounced(once, 1), _unannounced(once, 2))


def plain_letters(text: str) -> str:
    """Returns the text in lower case and without accents."""
    spelt = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in spelt if not unicodedata.combining(character))


def _period(text: str) -> int:
    """Returns the length of the part that a text repeats (the last time perhaps cut), or else its whole length."""
    return next((n for n in range(1, len(text) // 2 + 1) if text.startswith(text[n:])), len(text))


def _unannounced(text: str, stride: int) -> int:
    free = min(stride, len(text))
    pairs = zip(text, text[stride:], strict=False)
    return free + sum(one != other and one + other not in _STEPS for one, other in pairs)


def _words_of(own: Iterable[str]) -> Iterator[str]:
    for value in own:
        whole = plain_letters(value)
        parts = [*_NOT_A_WORD.split(whole), _NOT_A_WORD.sub("", whole), _NOT_A_WORD.sub("", whole.partition("@")[0])]
        yield from {part for part in parts if len(part) >= LEAST_WORD}


@lru_cache(maxsize=1)
def _listed() -> tuple[frozenset[str], tuple[str, ...]]:
    """Reads the whole passwords of the list, and its words."""
    lines = COMMON_PASSWORDS.read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    return frozenset(e for e in entries if len(e) >= WHOLE_PASSWORD), tuple(
        e for e in entries if len(e) < WHOLE_PASSWORD
    )


FREE_TRIES: Final = 5
"""From this failure in a row on an account is locked for a time; earlier ones are mistakes of typing."""

WAITS: Final = (60, 300, 900, 3_600)
"""Seconds for which an address or account is locked after the fifth failure in a row, the sixth and so on; the last
value repeats. At one try an hour, the hundred tries that NIST SP 800-63B-4, 3.2.2 allows take four days."""

FORGOTTEN_AFTER: Final = timedelta(days=1)
"""After this time without a failure, counting starts again."""


class SignIn(Record, table=True):
    """The failures in a row of one subject: an account, or the hash of an address, known or not."""

    __tablename__ = "sign_in"

    subject: UUID = Field(primary_key=True)
    failures: int
    failed_at: datetime = instant(default_now=True)
    locked_until: datetime | None = instant(nullable=True)


def lock_seconds(failures: int) -> int:
    """Returns the seconds for which a subject is locked after so many failures in a row; 0 for the first ones."""
    beyond = failures - FREE_TRIES
    return 0 if beyond < 0 else WAITS[min(beyond, len(WAITS) - 1)]
