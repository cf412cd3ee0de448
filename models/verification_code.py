"""Codes that prove a certificate: Crockford's base 32 with its check character, so that a typing error is told at once.

Source: https://www.crockford.com/base32.html. 15 random characters are 75 bits: nobody finds one by trying. Of the 37
check characters five are signs that break in links and on the telephone: a code that would need one is drawn anew.
"""

import re
import secrets
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_LENGTH: Final = 15
GROUP: Final = 4

_CHECKS: Final = 37
_TYPED: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None, "\N{NO-BREAK SPACE}": None})
_WHOLE: Final = re.compile(f"[{ALPHABET}]{{{RANDOM_LENGTH + 1}}}")


def new_code() -> str:
    """An unguessable code of 16 characters, ungrouped."""
    while True:
        random = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
        check = _value(random) % _CHECKS
        if check < len(ALPHABET):
            return random + ALPHABET[check]


def grouped(code: str) -> str:
    """As people read it: ``7KQ2-M9XD-4TBN-8ZC6``."""
    return "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))


def read_code(typed: str) -> str | None:
    """The code somebody typed, ungrouped: any case, O for 0, I and L for 1; None if it cannot be one."""
    if len(typed) > 100:
        return None
    code = typed.strip().upper().translate(_TYPED)
    if not _WHOLE.fullmatch(code):
        return None
    return code if _value(code[:-1]) % _CHECKS == ALPHABET.index(code[-1]) else None


def _value(text: str) -> int:
    number = 0
    for character in text:
        number = number * len(ALPHABET) + ALPHABET.index(character)
    return number
