"""An account is known by one spelling of its mail address, which these functions compute."""

import re
import unicodedata
from typing import Final

import idna

from models.label import ZERO_WIDTH, trim
from models.words import Code

MAX_ADDRESS = 254  # RFC 5321, 4.5.3.1.3: a path is 256 octets, its two angle brackets included
MAX_LOCAL_PART = 64  # RFC 5321, 4.5.3.1.1
MAX_DOMAIN_LABEL = 63  # RFC 1035, 2.3.4

# NFC takes quadratic time on a run of combining marks, so a longer text that is not ASCII is not composed.
_LONGEST_COMPOSED = 1000
# Up to this length no part of an address can exceed its limit, so one regular expression decides.
_SHORT = 64

ERASED_DOMAIN: Final = "erased.invalid"
"""Placeholder addresses of erased people have this domain, which exists nowhere (RFC 2606); no request may use it."""
_ERASED = f"@{ERASED_DOMAIN}"

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_PLAIN_ADDRESS = re.compile(rf"{_DOT_ATOM.pattern}@(?![^@]*[Xx][Nn]--){_DOMAIN.pattern}")
_REMOVE_ZERO_WIDTH = str.maketrans("", "", ZERO_WIDTH)
_MAILTO = "mailto:"


def normalise_email(text: str) -> str | Code:
    """Returns the address in the one spelling by which accounts are compared: lower case and ASCII.

    Pasted text is cleaned: white space and zero-width characters, ``mailto:``, ``Name <a@b>``, an accented domain.
    Nothing is guessed: a comma in place of a dot, two addresses or look-alike letters are refused, because a mail to a
    repaired address may reach a stranger.

    Returns:
      The address; or ``MISSING_EMAIL`` if nothing is left after cleaning; or ``INVALID_EMAIL`` if it is not one
      dot-atom of 1 to 64 characters (RFC 5322, 3.2.3), an @ and a domain of at least two labels, 254 characters in
      all, or if it is the placeholder of an erased person (``ERASED_DOMAIN``).
    """
    # Nearly every address of a large request is plain; the complete rule takes ten times as long for the same answer.
    if len(text) <= _SHORT and _PLAIN_ADDRESS.fullmatch(text):
        address = text.lower()
        return Code.INVALID_EMAIL if address.endswith(_ERASED) else address
    return normalise_unusual_email(text)


def normalise_unusual_email(text: str) -> str | Code:
    """Applies the complete rule to any text; ``normalise_email`` gives the same answer faster for plain addresses."""
    cleaned = _clean(text)
    if cleaned.endswith(">") and cleaned.count("<") == cleaned.count(">") == 1:
        cleaned = _clean(cleaned[cleaned.index("<") + 1 : -1])
    if not cleaned:
        return Code.MISSING_EMAIL
    if cleaned.count("@") != 1:
        return Code.INVALID_EMAIL
    local_part, domain = cleaned.split("@")
    ascii_domain = _domain_to_ascii(domain)
    if ascii_domain is None or len(local_part) > MAX_LOCAL_PART or not _DOT_ATOM.fullmatch(local_part):
        return Code.INVALID_EMAIL
    address = f"{local_part.lower()}@{ascii_domain}"
    return Code.INVALID_EMAIL if len(address) > MAX_ADDRESS or address.endswith(_ERASED) else address


def unicode_email(email: str) -> str:
    """Returns a normalised address with its domain in Unicode, as people write it."""
    local_part, _, domain = email.partition("@")
    try:
        return f"{local_part}@{idna.decode(domain)}" if "xn--" in domain else email
    except UnicodeError:
        return email


def _clean(text: str) -> str:
    """Removes outer white space, zero-width characters and ``mailto:``; composes (NFC) what may be an address."""
    text = trim(text.translate(_REMOVE_ZERO_WIDTH))
    if not text.isascii() and len(text) <= _LONGEST_COMPOSED:
        text = unicodedata.normalize("NFC", text)
    if text[: len(_MAILTO)].lower() == _MAILTO:
        text = trim(text[len(_MAILTO) :])
    return text


def _domain_to_ascii(domain: str) -> str | None:
    """Returns the domain as DNS knows it (UTS 46, non-transitional), or None if it is not a valid domain."""
    if len(domain) > MAX_ADDRESS:
        return None
    try:
        labels = [_label_to_ascii(label) for label in idna.uts46_remap(domain, std3_rules=False).split(".")]
    except UnicodeError:  # idna's own errors derive from it
        return None
    ascii_domain = ".".join(labels)
    too_long = any(len(label) > MAX_DOMAIN_LABEL for label in labels)
    return None if too_long or not _DOMAIN.fullmatch(ascii_domain) else ascii_domain


def _label_to_ascii(label: str) -> str:
    # For a plain label DNS allows hyphens in the third and fourth place, which IDNA would refuse.
    if label.isascii() and not label.startswith("xn--"):
        return label
    return idna.alabel(label).decode("ascii")
