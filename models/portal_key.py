"""The form of a portal's key, which a person and a scanner of secrets recognise, and of a portal's name.

A key is ``mtr_<key id>_<secret>_<checksum>``. The key id may be shown and logged; the secret is 256 random bits; the
checksum (CRC-32) tells a key that was cut or mistyped from one that is unknown. 256 random bits cannot be guessed, so
the key is kept as a plain SHA-256: a slow hash would protect nothing more and cost time at each request.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import Final, NamedTuple

PREFIX: Final = "mtr"
KEY_ID_LENGTH: Final = 8
_KEY: Final = re.compile(rf"({PREFIX}_([A-Za-z0-9]{{{KEY_ID_LENGTH}}})_[A-Za-z0-9_-]{{43}})_([0-9a-f]{{8}})")
_ALPHABET: Final = string.ascii_letters + string.digits
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class NewKey(NamedTuple):
    """A key that was just made; its text is shown once.

    Parameters:
      key_id: eight letters and digits.
      text: the whole key.
    """

    key_id: str
    text: str


def make_key() -> NewKey:
    """Makes a key at random."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(KEY_ID_LENGTH))
    body = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
    return NewKey(key_id, f"{body}_{_checksum(body)}")


def read_key_id(text: str) -> str | None:
    """Reads the key id of a key; returns None for a text that is no key. It proves nothing."""
    found = _KEY.fullmatch(text)
    return found[2] if found and found[3] == _checksum(found[1]) else None


def hash_key(text: str) -> bytes:
    """Returns the SHA-256 of a key, in which form it is kept."""
    return hashlib.sha256(text.encode()).digest()


def is_portal_name(name: str) -> bool:
    """Tells whether a portal may have this name: 1 to 32 small letters, digits and hyphens, not a hyphen first."""
    return _NAME.fullmatch(name) is not None


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"
