"""Mail addresses: the one spelling under which an account is known."""

import re
import unicodedata
from typing import Final

import idna

from models.label import ZERO_WIDTH, trim
from models.words import Code

MAX_ADDRESS = 254  # RFC 5321, 4.5.3.1.3: a path is 256 octets, its two angle brackets included
MAX_LOCAL_PART = 64  # RFC 5321, 4.5.3.1.1
MAX_DOMAIN_LABEL = 63  # RFC 1035, 2.3.4

# Composing takes a time quadratic in a run of combining marks, so a longer text that is not ASCII is not looked at.
_LONGEST_COMPOSED = 1000
# Up to this length the local part, each label and the whole cannot be over their limits: one regex decides.
_SHORT = 64

ERASED_DOMAIN: Final = "erased.invalid"
"""Where the addresses that stand for erased people are: a domain that exists nowhere (RFC 2606), for nobody to type."""
_ERASED = f"@{ERASED_DOMAIN}"

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_PLAIN_ADDRESS = re.compile(rf"{_DOT_ATOM.pattern}@(?![^@]*[Xx][Nn]--){_DOMAIN.pattern}")
_REMOVE_ZERO_WIDTH = str.maketrans("", "", ZERO_WIDTH)
_MAILTO = "mailto:"


def normalise_email(text: str) -> str | Code:
    """The address in the spelling accounts are compared by, lower case and ASCII.

    What people paste is cleaned: white space and zero-width characters, ``mailto:``, ``Name <a@b>``, an accented
    domain. Nothing is guessed: a comma for a dot, two addresses or look-alike letters are refused, because a mail
    sent to a repaired address may reach a stranger.

    Returns:
      The address; or ``MISSING_EMAIL`` if nothing is left after cleaning, ``INVALID_EMAIL`` if it is not one dot-atom
      of 1 to 64 characters (RFC 5322, 3.2.3), an @ and a domain of at least two labels, 254 characters in all; or if
      it stands for somebody who was erased (``ERASED_DOMAIN``).
    """
    # Nearly every address of a large request is plain; the long way takes ten times as long to say the same.
    if len(text) <= _SHORT and _PLAIN_ADDRESS.fullmatch(text):
        address = text.lower()
        return Code.INVALID_EMAIL if address.endswith(_ERASED) else address
    return normalise_unusual_email(text)


def normalise_unusual_email(text: str) -> str | Code:
    """The whole rule, for any text; ``normalise_email`` answers the same, sooner for plain addresses."""
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
    """A normalised address with its domain as people write it, where that has letters that are not ASCII."""
    local_part, _, domain = email.partition("@")
    try:
        return f"{local_part}@{idna.decode(domain)}" if "xn--" in domain else email
    except UnicodeError:
        return email


def _clean(text: str) -> str:
    """NFC without white space around, zero-width characters or ``mailto:``; not NFC if too long to be an address."""
    text = trim(text.translate(_REMOVE_ZERO_WIDTH))
    if not text.isascii() and len(text) <= _LONGEST_COMPOSED:
        text = unicodedata.normalize("NFC", text)
    if text[: len(_MAILTO)].lower() == _MAILTO:
        text = trim(text[len(_MAILTO) :])
    return text


def _domain_to_ascii(domain: str) -> str | None:
    """The domain as DNS knows it (UTS 46, non-transitional), or None if it can be none."""
    if len(domain) > MAX_ADDRESS:
        return None
    try:
        labels = [_label_to_ascii(label) for label in idna.uts46_remap(domain, std3_rules=False).split(".")]
    except UnicodeError:  # the root of idna's own errors
        return None
    ascii_domain = ".".join(labels)
    too_long = any(len(label) > MAX_DOMAIN_LABEL for label in labels)
    return None if too_long or not _DOMAIN.fullmatch(ascii_domain) else ascii_domain


def _label_to_ascii(label: str) -> str:
    # Plain labels are left to the LDH rule: IDNA would refuse hyphens in third and fourth place, which DNS allows.
    if label.isascii() and not label.startswith("xn--"):
        return label
    return idna.alabel(label).decode("ascii")
