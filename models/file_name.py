"""Names of files people fetch: readable, and safe on every system and in every header."""

import re
import unicodedata
from typing import Final

from models.snapshot import Document

MOST: Final = 24
"""Characters of a name in the name of a file."""

TITLES: Final = {
    "fr": {Document.ATTESTATION: "attestation", Document.REALISATION: "certificat-de-realisation"},
    "en": {Document.ATTESTATION: "certificate", Document.REALISATION: "certificate-of-completion"},
}

_SPELT_OUT: Final = str.maketrans({"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "ß": "ss", "ø": "o", "Ø": "O", "ł": "l",
                                   "Ł": "L", "đ": "d", "Đ": "D", "ı": "i"})  # fmt: skip
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9]+")


def plain_name(text: str) -> str:
    """A text in ASCII letters, digits and single hyphens; empty when nothing of it can be written so."""
    spelt = unicodedata.normalize("NFKD", text.translate(_SPELT_OUT))
    ascii_only = "".join(one for one in spelt if not unicodedata.combining(one))
    return _NOT_PLAIN.sub("-", ascii_only)[:MOST].strip("-")


def document_file_name(document: Document, locale: str, first_name: str, last_name: str, number: str) -> str:
    """``attestation-Le-Du-Zoe-2026-000042-D1.pdf``: the number makes it the only one of its name."""
    parts = (TITLES[locale][document], plain_name(last_name), plain_name(first_name), number)
    return "-".join(filter(None, parts)) + ".pdf"
