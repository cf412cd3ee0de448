"""An account is known by one spelling of its mail address, which these functions compute."""

import re
import unicodedata
from typing import Final, NamedTuple

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
_BETWEEN = re.compile(r"[\s,;:<>()\[\]\"]+")
_AT = re.compile("[@\uff20]")  # also the full-width one
_MAILBOX = re.compile(
    r"(?:\"(?P<quoted>(?:[^\"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*)\"|(?P<phrase>[^\"<>@,;:\\()\[\]\x00-\x1f\x7f]*))"
    r"\s*<(?P<address>[^<>\s]+)>|(?P<alone>[^<>\s,;]+)"
)
_REMOVE_ZERO_WIDTH = str.maketrans("", "", ZERO_WIDTH)
_MAILTO = "mailto:"


def normalise_email(text: str) -> str | Code:
    """Returns the address in the one spelling by which accounts are compared: lower case and ASCII.

    Pasted text is cleaned: white space and zero-width characters, ``mailto:``, ``Name <a@b>``, an accented domain, the
    same address twice (``a@b <a@b>``, as mail programs copy it).
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
    written = _addresses_in(cleaned)
    if len(written) > 1:
        return _one_of(written)
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


def _addresses_in(text: str) -> list[str]:
    """Returns what looks like an address among the words of a text: an @ with something on both sides."""
    if len(_AT.findall(text)) < 2:
        return []
    words = (word.strip("'") for word in _BETWEEN.split(text))  # Outlook puts apostrophes around an address
    return [word for word in words if _AT.search(word) and all(_AT.split(word))]


def _one_of(written: list[str]) -> str | Code:
    """Returns the address that is written several times; two different ones are refused."""
    found = {normalise_email(address) for address in written}
    return found.pop() if len(found) == 1 else Code.INVALID_EMAIL


class Mailbox(NamedTuple):
    """A mailbox as headers show it: a name, which may be empty, and the address with its domain in ASCII."""

    name: str
    address: str


def parse_mailbox(text: str) -> Mailbox | None:
    """Reads exactly one mailbox, ``Name <address>`` or ``address`` (RFC 5322, 3.4); None for anything else.

    A name with a comma, a colon or other special characters stands in quotes. A name that is itself another address is
    refused: mail programs show it in place of the true one.
    """
    found = _MAILBOX.fullmatch(text.strip())
    if found is None:
        return None
    address = _ascii_address(found["address"] or found["alone"])
    quoted = found["quoted"]
    name = (found["phrase"] or "") if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    written = {_ascii_address(one) for one in _addresses_in(f"{name} {address}")}
    return None if address is None or written - {address} else Mailbox(" ".join(name.split()), address)


def _ascii_address(address: str) -> str | None:
    """Returns an address with its domain in ASCII and its local part as it is; None when it is none.

    A domain may be a single label, as ``localhost`` is.
    """
    local_part, _, domain = address.rpartition("@")
    single = domain if re.fullmatch(_LABEL, domain) else None
    ascii_domain = single or _domain_to_ascii(domain)
    valid = ascii_domain is not None and len(local_part) <= MAX_LOCAL_PART and _DOT_ATOM.fullmatch(local_part)
    return f"{local_part}@{ascii_domain}" if valid else None


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
