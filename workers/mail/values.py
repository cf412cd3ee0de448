"""Makes values that people typed inert before they reach a mail.

A name comes from a form or a file that any stranger may have filled in. Mail clients turn ``evil.com`` into a link in
text and in HTML alike, so a name could make our mail carry an advertisement. So text that looks like an address is
broken up visibly, and invisible characters are removed.
"""

import re
import unicodedata

SENDABLE_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,253}")
"""An address that commands and headers may carry: ASCII, unquoted, alone (RFC 5321 without a quoted local part)."""

LONGEST_NAME = 60
LONGEST_ADDRESS = 254

# Control and format characters (bidirectional overrides, zero-width), lone surrogates, private use, line separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SCHEME = re.compile(r"(?i):(?=//)|(?<=mailto):|(?<=tel):|(?<=sms):|(?<=javascript):|(?<=data):")
# Clients accept the ideographic and full-width full stops as dots of a domain too.
_DOMAIN_DOT = re.compile(r"(?<=[^\W_])[.\u3002\uff0e\uff61](?=[^\W\d_]{2})")


def visible(value: str) -> str:
    """Returns the value on one line, without invisible characters; every run of white space becomes one space."""
    if not value.isprintable():
        value = "".join(_printable(character) for character in value)
    return " ".join(value.split())


def _printable(character: str) -> str:
    if character.isspace():
        return " "
    return "" if unicodedata.category(character) in _INVISIBLE else character


def shortened(value: str, longest: int) -> str:
    """Cuts a value to at most ``longest`` characters; the last one is then an ellipsis."""
    return value if len(value) <= longest else value[: longest - 1].rstrip() + "…"


def inert(value: str) -> str:
    """Changes a value so that no part becomes a link in a mail client, or an encoded word in a header (RFC 2047)."""
    value = value.replace("=?", "= ?").replace("?=", "? =")
    value = _SCHEME.sub(": ", value).replace("//", "")
    value = value.replace("@", " @ ")
    return " ".join(_DOMAIN_DOT.sub(". ", value).split())


def inert_name(value: str) -> str:
    """Returns a name of a person, company or training for mails: one line, no link, at most 60 characters."""
    return shortened(inert(visible(value)), LONGEST_NAME)


# A slash is not allowed: text before it could be read as the address of a page.
_ADDRESS = re.compile(r"[\w.!#$%&'*+=^`{|}~-]+@[\w.-]+")


def shown_address(value: str) -> str:
    """Returns a mail address for reports: as typed when it has the form of one, valid or not, else inert."""
    value = shortened(visible(value), LONGEST_ADDRESS)
    if _ADDRESS.fullmatch(value) and "://" not in value and "=?" not in value:
        return value
    return shortened(inert(value), LONGEST_NAME)
