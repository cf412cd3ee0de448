"""Passwords: what a new one must be, what is guessed first, and how long wrong ones close an account.

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
"""Code points. The same section asks that at least 64 be allowed; a bound keeps hashing cheap to ask for."""

# NFC makes a text four times shorter at most, and takes a time quadratic in a run of combining marks: a longer text is
# known to be too long without composing it.
_LONGEST_COMPOSED = 4 * MAX_PASSWORD


def check_password(password: str, again: str, own: Iterable[str] = ()) -> Code | None:
    """Why this password cannot be taken, or None if it can.

    Each code point counts as one character and any character will do: no digit or capital is asked for (NIST
    SP 800-63B-4, 3.1.1.2 forbids such rules). What is counted, compared and later hashed is the NFC form, since the
    same keys send ``é`` in one piece on one system and in two on another.

    Parameters:
      password: what the person typed.
      again: what they typed the second time.
      own: what everybody knows of them: their address and names, and the name of the platform.

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
    """The form of a password that is hashed, when it is chosen and each time it is checked."""
    return unicodedata.normalize("NFC", password)


COMMON_PASSWORDS: Final = Path(__file__).with_name("common_passwords.txt")
WHOLE_PASSWORD: Final = 15
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
    whole = plain_letters(password)
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
    left = _NOT_A_WORD.sub("", plain_letters(password))
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


def plain_letters(text: str) -> str:
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
        whole = plain_letters(value)
        parts = [*_NOT_A_WORD.split(whole), _NOT_A_WORD.sub("", whole), _NOT_A_WORD.sub("", whole.partition("@")[0])]
        yield from {part for part in parts if len(part) >= LEAST_WORD}


@lru_cache(maxsize=1)
def _listed() -> tuple[frozenset[str], tuple[str, ...]]:
    """The whole passwords of the list, and its words."""
    lines = COMMON_PASSWORDS.read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    return frozenset(e for e in entries if len(e) >= WHOLE_PASSWORD), tuple(
        e for e in entries if len(e) < WHOLE_PASSWORD
    )


FREE_TRIES: Final = 5
"""Failures in a row that cost nothing: people mistype."""

WAITS: Final = (60, 300, 900, 3_600)
"""Seconds an address or account is closed after the fifth failure in a row, the sixth… ; the last repeats. At one try
an hour, the hundred tries NIST SP 800-63B-4, 3.2.2 allows in all take four days."""

FORGOTTEN_AFTER: Final = timedelta(days=1)
"""Without a failure for so long, counting starts afresh."""


class SignIn(Record, table=True):
    """Failures in a row of one subject: an account, or the hash of an address, known or not."""

    __tablename__ = "sign_in"

    subject: UUID = Field(primary_key=True)
    failures: int
    failed_at: datetime = instant(default_now=True)
    locked_until: datetime | None = instant(nullable=True)


def lock_seconds(failures: int) -> int:
    """How long a subject is closed after so many failures in a row; 0 while they cost nothing."""
    beyond = failures - FREE_TRIES
    return 0 if beyond < 0 else WAITS[min(beyond, len(WAITS) - 1)]
