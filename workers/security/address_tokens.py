"""Hashes addresses with a secret, so that the jobs of a typed address are found, and no address is read in the table.

An address is hashed in the spelling by which accounts are compared; one that is none is hashed as it was typed, because
it is looked for as well: a typing error is a reason for a refusal.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from models.address import normalise_email
from models.words import Code
from workers.errors import NotConfigured
from workers.security.keys import signing_keys

_TYPED: Final = b"matricule typed address, first form"

_LONGEST: Final = 320
"""The most characters of a text that are hashed: 64 before the @ and 255 behind it."""


def new_tokens(typed: Iterable[str]) -> dict[str, UUID]:
    """Returns the token of each text, by the newest key of LINK_KEYS.

    A process without keys makes none: what it records is not found by address, but it is recorded.
    """
    spellings = {text: spelling for text in typed if (spelling := _spelling(text))}
    if not spellings:
        return {}
    try:
        keys = signing_keys()
    except NotConfigured:
        return {}
    begun = _begun(keys.secret(keys.newest) or b"")
    return {text: _token(begun, spelling) for text, spelling in spellings.items()}


def tokens_of(addresses: Collection[str]) -> list[UUID]:
    """Returns the tokens that these addresses may have, by each key of LINK_KEYS.

    Raises: NotConfigured when the keys are missing or cannot be read.
    """
    keys = signing_keys()
    spellings = {spelling for address in addresses if (spelling := _spelling(address))}
    begun = [_begun(keys.secret(key) or b"") for key in keys.key_ids]
    return sorted(_token(mac, spelling) for mac in begun for spelling in spellings)


def _spelling(typed: str) -> str:
    """Returns the text that is hashed; empty when nothing was typed."""
    address = normalise_email(typed)
    return typed.strip().lower()[:_LONGEST] if isinstance(address, Code) else address


def _begun(secret: bytes) -> hmac.HMAC:
    return hmac.new(secret, _TYPED, hashlib.sha256)


def _token(begun: hmac.HMAC, spelling: str) -> UUID:
    mac = begun.copy()
    mac.update(spelling.encode("utf-8", "surrogatepass"))
    return UUID(bytes=mac.digest()[:16])


__all__ = ["new_tokens", "tokens_of"]
