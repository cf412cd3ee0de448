"""A label is a text of a portal that mails show: a company name, a training title, a reference, a requester.

Labels reach mail subjects, so a text is refused if it could break a header or shows in another order than it is
written. The rules on names and addresses use the character classes of this module.
"""

import re
import unicodedata

from models.words import Code

WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""Unicode's White_Space property. ``str.strip()`` would also take U+001C to U+001F, which are control characters."""

ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\xad"
"""Invisible characters that people copy from web pages by accident."""

BIDI_CONTROL = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Unicode's Bidi_Control property, for a character class: these characters make a text look like another one."""

SURROGATES = "\ud800-\udfff"
"""Halves of a UTF-16 pair: JSON can carry one alone, but neither UTF-8 nor PostgreSQL can store it."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A cell that begins with one of these could run as a formula in a spreadsheet (OWASP ASVS 5, 1.2.10).
The last four are the full-width forms, which spreadsheets in East Asian languages read in the same way.
"""

MAX_LABEL = 200
MAX_REFERENCE = 100

_EDGES = WHITE_SPACE + ZERO_WIDTH
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd{BIDI_CONTROL}{SURROGATES}]")
_NOT_PRINTABLE_ASCII = re.compile(r"[^!-~]")


def trim(text: str) -> str:
    """Removes white space and zero-width characters at both ends."""
    return text.strip(_EDGES)


def compose(text: str, limit: int) -> str | None:
    """Returns the text in NFC, or None if it then has more than ``limit`` code points.

    One code point decomposes into four at most, so a text of more than ``4 * limit`` code points is too long in any
    case. It is not composed, because NFC takes quadratic time on a run of combining marks: a megabyte of them would
    block a worker for a quarter of an hour.
    """
    if len(text) > 4 * limit:
        return None
    composed = unicodedata.normalize("NFC", text)
    return composed if len(composed) <= limit else None


def make_label(text: str, fallback: str) -> str:
    """Makes a label of an untrusted text, such as a file name: each character that is not allowed becomes ``_``."""
    allowed = _UNSAFE.sub("_", text.encode("utf-8", "replace").decode()).replace("=?", "_").replace("?=", "_")
    cleaned = clean_label(allowed[-MAX_LABEL:])
    return fallback if isinstance(cleaned, Code) else cleaned


def clean_label(text: str, *, limit: int = MAX_LABEL) -> str | Code:
    """Returns the text as mails show it: NFC, trimmed, one line.

    Parameters:
      text: the text that the portal sent.
      limit: the number of code points it may have.

    Returns:
      The text; or ``MISSING_NAME`` if nothing is left of it; ``UNSAFE_VALUE`` if it holds a control character (such as
      a line break), a Bidi_Control character, U+FFFD (the text was damaged before it came here) or an encoded word
      (RFC 2047), which a mail program would decode into another text; ``VALUE_TOO_LONG`` if it is over ``limit``.
    """
    trimmed = trim(text)
    if not trimmed:
        return Code.MISSING_NAME
    if _UNSAFE.search(trimmed) or _holds_encoded_word(trimmed):
        return Code.UNSAFE_VALUE
    composed = compose(trimmed, limit)
    return Code.VALUE_TOO_LONG if composed is None else composed


def clean_reason(text: str) -> str | Code:
    """Checks the reason of a request: the audit trail outlives the data of people, so a reason may name no address.

    Returns:
      The text as ``clean_label`` returns it; or its refusal, or ``UNSAFE_VALUE`` if it holds an address.
    """
    label = clean_label(text)
    return Code.UNSAFE_VALUE if not isinstance(label, Code) and names_address(label) else label


def names_address(text: str) -> bool:
    """Tells whether a text may hold an address: it has an at sign, or the full-width one."""
    return "@" in text or "\uff20" in text


def clean_reference(text: str) -> str | Code:
    """Checks a portal's own reference, which stays as it is because the portal compares it.

    Returns:
      The same text; or ``MISSING_NAME`` if it is empty, ``UNSAFE_VALUE`` if it holds a space or a character that is
      not printable ASCII, ``VALUE_TOO_LONG`` if it is over 100 characters.
    """
    if not text:
        return Code.MISSING_NAME
    if _NOT_PRINTABLE_ASCII.search(text):
        return Code.UNSAFE_VALUE
    return text if len(text) <= MAX_REFERENCE else Code.VALUE_TOO_LONG


def _holds_encoded_word(text: str) -> bool:
    start = text.find("=?")
    return start >= 0 and text.find("?=", start + 2) >= 0
