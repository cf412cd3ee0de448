"""Makes values that people typed inert before they reach a mail.

A name comes from a form or a file that any stranger may have filled in. Mail clients turn ``evil.com`` into a link in
text and in HTML alike, so a name could make our mail carry an advertisement. Booking.com is also the name of a company,
which is shown as it is written: a zero-width non-joiner stands after each dot, @ and group of digits that a client may
read as a part of a link. Every font draws it as nothing, clients let no domain go on behind it, and unlike an element
around the dot it also holds in plain text and in clients that look for links across elements (Apple Mail). All other
invisible characters are removed, and a scheme (``http://``), which no name has, is broken up visibly.
"""

import re
import unicodedata
from typing import Final

SENDABLE_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,253}")
"""An address that commands and headers may carry: ASCII, unquoted, alone (RFC 5321 without a quoted local part)."""

LONGEST_NAME = 60
LONGEST_ADDRESS = 254

BREAK: Final = "\u200c"
"""ZERO WIDTH NON-JOINER: ends a link, and shows as nothing. It is copied with the text, so file names have none where
they can do without."""

# Control and format characters (bidirectional overrides, zero-width), lone surrogates, private use, line separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SCHEME = re.compile(r"(?i):(?=//)|(?<=mailto):|(?<=tel):|(?<=sms):|(?<=javascript):|(?<=data):")
# Places behind which a link ends: a word that may be a scheme, "www", a backslash before another (a share of Windows).
_LINKED = re.compile(r"(?i)(?<=[a-z]{2}:)(?=\S)|\b(?:www(?=\.)|ftp(?=[.:])|(?:https?|file)(?=:))|\\(?=\\)")
_IP_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
# Clients accept the ideographic, full-width and small full stops as dots of a domain too.
_DOMAIN_DOT = re.compile(r"(?<=\S)[.\u2024\u3002\ufe52\uff0e\uff61](?=[^\W\d_]{2})")
_AT = re.compile(r"[@\ufe6b\uff20](?=\S)")
# Numbers of seven digits or more may be dialled; a break behind each group of two leaves none.
_PHONE = re.compile(r"\+?\d(?:[ .()/-]{0,2}\d){6,}")
_PAIR = re.compile(r"(\d[ .()/-]{0,2}\d)(?=.)")
_FILE_NAME = re.compile(r"(?P<stem>.+)(?P<ending>\.(?:csv|tsv|txt|xlsx?|xlsm|ods))", re.IGNORECASE)
"""A name with one of the endings that rosters have, none of which is a top-level domain."""


def visible(value: str, *, kept: str = "") -> str:
    """Returns the value on one line, without invisible characters; every run of white space becomes one space.

    Parameters:
      kept: an invisible character that stays.
    """
    if not value.isprintable():
        value = "".join(_printable(character, kept) for character in value)
    return " ".join(value.split())


def _printable(character: str, kept: str) -> str:
    if character.isspace():
        return " "
    return character if character == kept or unicodedata.category(character) not in _INVISIBLE else ""


def shortened(value: str, longest: int) -> str:
    """Cuts a value to at most ``longest`` characters; the last one is then an ellipsis."""
    return value if len(value) <= longest else value[: longest - 1].rstrip() + "…"


def inert(value: str) -> str:
    """Changes a value so that no part becomes a link in a mail client, or an encoded word in a header (RFC 2047)."""
    value = value.replace("=?", "= ?").replace("?=", "? =")
    value = " ".join(_SCHEME.sub(": ", value).replace("//", "").split())
    for place in (_AT, _DOMAIN_DOT, _LINKED):
        value = place.sub(rf"\g<0>{BREAK}", value)
    return _IP_ADDRESS.sub(lambda found: found[0].replace(".", f".{BREAK}"), value)


_PLAIN_NAME = re.compile(rf"(?=.{{1,{LONGEST_NAME}}}\Z)[^\W\d_]+(?:[ '’-][^\W\d_]+)*")
"""Words of letters alone: nothing in them can become a link, and no character is invisible."""


def inert_name(value: str) -> str:
    """Returns a name of a person, company or training for mails: one line, no link, at most 60 characters."""
    if type(value) is str and _PLAIN_NAME.fullmatch(value):  # most names: ten patterns need not be looked for
        return value
    return _PHONE.sub(_undialled, inert(shortened(visible(value), LONGEST_NAME)))


def _undialled(number: re.Match[str]) -> str:
    return _PAIR.sub(rf"\1{BREAK}", number[0])


def inert_reference(value: str) -> str:
    """Returns a reference for mails: like a name, but its digits stay together, because people copy them."""
    return inert(shortened(visible(value), LONGEST_NAME))


def inert_file_name(value: str) -> str:
    """Returns the name of a file for mails: like a reference, but its ending is left as it is.

    So an ordinary name (``export RH mars 2026.csv``) can be copied and looked for.
    """
    shown = shortened(visible(value), LONGEST_NAME)
    found = _FILE_NAME.fullmatch(shown)
    return inert(shown) if found is None else inert(found["stem"]) + found["ending"]


# A slash is not allowed: text before it could be read as the address of a page.
_ADDRESS = re.compile(r"[\w.!#$%&'*+=^`{|}~-]+@[\w.-]+")


def shown_address(value: str) -> str:
    """Returns a mail address for reports: as typed when it has the form of one, valid or not, else inert."""
    value = shortened(visible(value), LONGEST_ADDRESS)
    if _ADDRESS.fullmatch(value) and "://" not in value and "=?" not in value:
        return value
    return inert(shortened(value, LONGEST_NAME))
