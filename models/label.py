"""Texts a portal gives us to show in mails: company names, training titles, references, who asked.

They reach mail subjects, so one that could bend a header, or be read in another order than it is written, is refused.
The character classes here are shared by the rules on names and addresses.
"""

import re
import unicodedata

from models.words import Code

WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""Unicode's White_Space property. ``str.strip()`` would also take U+001C to U+001F, which are control characters."""

ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\xad"
"""Characters that show as nothing and come along when people copy from a web page."""

BIDI_CONTROL = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Unicode's Bidi_Control property, as the inside of a character class: these make a text look like another one."""

SURROGATES = "\ud800-\udfff"
"""Halves of a UTF-16 pair, which JSON can carry alone and neither UTF-8 nor PostgreSQL can store."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell must not begin with in a file a spreadsheet may open: it could run as a formula (OWASP ASVS 5, 1.2.10).
The last four are the full-width forms, which spreadsheets in East Asian languages read alike.
"""

MAX_LABEL = 200
MAX_REFERENCE = 100

_EDGES = WHITE_SPACE + ZERO_WIDTH
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd{BIDI_CONTROL}{SURROGATES}]")
_NOT_PRINTABLE_ASCII = re.compile(r"[^!-~]")


def trim(text: str) -> str:
    """``text`` without the white space and zero-width characters at its two ends."""
    return text.strip(_EDGES)


def compose(text: str, limit: int) -> str | None:
    """``text`` in NFC, or None if it is over ``limit`` code points then.

    One code point decomposes into four at most, so a text of more than ``4 * limit`` is over the limit whatever it
    holds. That is told without composing it, because NFC takes a time quadratic in a run of combining marks: a
    megabyte of them would hold a worker for a quarter of an hour.
    """
    if len(text) > 4 * limit:
        return None
    composed = unicodedata.normalize("NFC", text)
    return composed if len(composed) <= limit else None


def harmless(text: str, fallback: str) -> str:
    """A label made of a text somebody else chose, such as the name of a file: what is not allowed in one is ``_``."""
    allowed = _UNSAFE.sub("_", text.encode("utf-8", "replace").decode()).replace("=?", "_").replace("?=", "_")
    cleaned = clean_label(allowed[-MAX_LABEL:])
    return fallback if isinstance(cleaned, Code) else cleaned


def clean_label(text: str, *, limit: int = MAX_LABEL) -> str | Code:
    """The text as mails will show it: NFC, trimmed, one line.

    Parameters:
      text: what the portal gave.
      limit: the most code points it may have.

    Returns:
      The text; or ``MISSING_NAME`` if nothing is left of it; ``UNSAFE_VALUE`` if it holds a control character (a line
      break is one), a Bidi_Control character, U+FFFD (it was damaged before it came here) or an encoded word
      (RFC 2047), which a mail program would decode into something else; ``VALUE_TOO_LONG`` if it is over ``limit``.
    """
    trimmed = trim(text)
    if not trimmed:
        return Code.MISSING_NAME
    if _UNSAFE.search(trimmed) or _holds_encoded_word(trimmed):
        return Code.UNSAFE_VALUE
    composed = compose(trimmed, limit)
    return Code.VALUE_TOO_LONG if composed is None else composed


def clean_reason(text: str) -> str | Code:
    """Why something is asked, as the audit trail keeps it long after the person may be forgotten.

    Returns:
      The text as ``clean_label`` has it; or its refusal, or ``UNSAFE_VALUE`` if it holds an address.
    """
    label = clean_label(text)
    return Code.UNSAFE_VALUE if not isinstance(label, Code) and ("@" in label or "\uff20" in label) else label


def clean_reference(text: str) -> str | Code:
    """A portal's own reference, kept to the letter because the portal compares it: 1 to 100 printable ASCII characters.

    Returns:
      The same text; or ``MISSING_NAME`` if it is empty, ``UNSAFE_VALUE`` if it holds a space or anything but printable
      ASCII, ``VALUE_TOO_LONG`` if it is over 100 characters.
    """
    if not text:
        return Code.MISSING_NAME
    if _NOT_PRINTABLE_ASCII.search(text):
        return Code.UNSAFE_VALUE
    return text if len(text) <= MAX_REFERENCE else Code.VALUE_TOO_LONG


def _holds_encoded_word(text: str) -> bool:
    start = text.find("=?")
    return start >= 0 and text.find("?=", start + 2) >= 0
