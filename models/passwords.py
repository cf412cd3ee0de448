"""What a new password must be: long, and not among the first that somebody would guess."""

import unicodedata
from collections.abc import Iterable

from models.guessing import is_common, is_personal
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
