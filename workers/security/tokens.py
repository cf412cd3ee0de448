"""The tokens of links in mails, with which the reader of a mail may choose a password.

A token is computed and never stored. The database keeps only the id of the key, the purpose and the version, so a copy
of the database opens no account. A mail sent again has the same link, because the same row gives the same token.
"""

import base64
import hashlib
import hmac
import re
import struct
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from models.words import Purpose
from workers.errors import NotConfigured

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_KEY_HEX = re.compile(r"[0-9A-Fa-f]{64}")  # 32 bytes, the length of the HMAC, as RFC 2104 advises

# 16 bytes of id and 32 of HMAC are exactly 64 characters, without padding or unused bits: a token has one spelling.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{64}")
_ID_BYTES = 16

# This prefix separates tokens from other uses of the same key, so that none of them can make a valid token.
_DOMAIN = b"matricule mail link, first form"
_FILE_DOMAIN = b"matricule file link, first form"


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The secrets that sign links, by id. They are kept out of ``repr``, so that no log or traceback shows them."""

    newest: str
    _secrets: dict[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str, setting: str = "LINK_KEYS") -> Self:
        """Reads ``LINK_KEYS`` or ``PORTAL_KEYS``: ``id:hex,id:hex``, newest first, 32 bytes (64 digits) each.

        What a key has signed stays valid as long as it stays in the list.

        Parameters:
          setting: the name of the setting, for the sentences of errors.

        Raises:
          NotConfigured: a key is wrong; the message gives its place in the list, because its text may be a secret.
        """
        if not text.strip():
            raise NotConfigured(f"{setting} is empty: give it one key as id:hex; openssl rand -hex 32 makes the hex")
        secrets: dict[str, bytes] = {}
        for place, entry in enumerate(text.split(","), start=1):
            key_id, colon, digits = entry.strip().partition(":")
            if not colon or not _KEY_ID.fullmatch(key_id):
                raise NotConfigured(
                    f"{setting}, key {place}: write id:hex, the id of 1 to 32 letters, digits, . _ or -"
                )
            if not _KEY_HEX.fullmatch(digits):
                raise NotConfigured(f"{setting}, key {place}: the secret must be 64 hexadecimal digits (32 bytes)")
            if key_id in secrets:
                raise NotConfigured(f"{setting}, key {place}: its id is used by an earlier key; ids must differ")
            secrets[key_id] = bytes.fromhex(digits)
        return cls(newest=next(iter(secrets)), _secrets=secrets)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys, newest first."""
        return tuple(self._secrets)

    def secret(self, key_id: str) -> bytes | None:
        """Returns the 32 bytes of this key, or None if it was withdrawn from the list."""
        return self._secrets.get(key_id)


def make_token(
    keys: SigningKeys, *, key_id: str, link_id: UUID, purpose: Purpose, version: int, account_id: UUID
) -> str:
    """Computes the token of a link: the same arguments always give the same 64 URL-safe characters.

    Parameters:
      keys: the keys of this installation.
      key_id: the key that the link's row names; ``keys.newest`` for a new row.
      link_id: the id of the link's row.
      purpose: the use that the link allows.
      version: a number from 0; a higher one in the row makes links mailed before useless.
      account_id: the account of the link.

    Raises:
      NotConfigured: the key is no longer in ``LINK_KEYS``.
    """
    secret = keys.secret(key_id)
    if secret is None:
        raise NotConfigured(
            f"LINK_KEYS lacks the key {key_id!r} a link was signed with: put it back, or renew the link"
        )
    mac = hmac.digest(secret, _signed_text(link_id, purpose, version, account_id), hashlib.sha256)
    return base64.urlsafe_b64encode(link_id.bytes + mac).decode("ascii")


def link_url(base_url: str, token: str) -> str:
    """Returns the URL of a link. The base comes from the settings, never from a request (no reset poisoning)."""
    return f"{base_url.rstrip('/')}/links/{token}"


def read_token(token: str) -> UUID | None:
    """Reads the id of the link from a token, to find its row; None if the text is no token. It proves nothing."""
    if not _TOKEN.fullmatch(token):
        return None
    return UUID(bytes=base64.urlsafe_b64decode(token)[:_ID_BYTES])


def check_token(
    keys: SigningKeys,
    token: str,
    *,
    key_id: str,
    link_id: UUID,
    purpose: Purpose,
    version: int,
    account_id: UUID,
) -> bool:
    """Tells whether this is the token of that link, in constant time.

    It is False too when the key was withdrawn: ops withdraw a leaked key to cancel every link it signed.
    """
    if keys.secret(key_id) is None or not _TOKEN.fullmatch(token):
        return False
    expected = make_token(keys, key_id=key_id, link_id=link_id, purpose=purpose, version=version, account_id=account_id)
    return hmac.compare_digest(expected, token)


def make_file_token(keys: SigningKeys, *, key_id: str, file_id: UUID) -> str:
    """Computes the token of a file, 64 URL-safe characters; its holder may fetch the file until it expires.

    Raises:
      NotConfigured: the key is no longer in ``LINK_KEYS``.
    """
    secret = keys.secret(key_id)
    if secret is None:
        raise NotConfigured(f"LINK_KEYS lacks the key {key_id!r} a file was signed with: put it back")
    mac = hmac.digest(secret, _FILE_DOMAIN + file_id.bytes, hashlib.sha256)
    return base64.urlsafe_b64encode(file_id.bytes + mac).decode("ascii")


def file_url(base_url: str, token: str) -> str:
    """Returns the URL at which the holder of a token fetches its file."""
    return f"{base_url.rstrip('/')}/files/{token}"


def check_file_token(keys: SigningKeys, token: str, *, key_id: str, file_id: UUID) -> bool:
    """Tells whether this is the token of that file, in constant time."""
    if keys.secret(key_id) is None or not _TOKEN.fullmatch(token):
        return False
    return hmac.compare_digest(make_file_token(keys, key_id=key_id, file_id=file_id), token)


def _signed_text(link_id: UUID, purpose: Purpose, version: int, account_id: UUID) -> bytes:
    """Encodes the fields for signing; lengths come before texts, so that no two links have the same bytes."""
    texts = b"".join(struct.pack(">H", len(text)) + text for text in (_DOMAIN, purpose.value.encode()))
    return texts + link_id.bytes + struct.pack(">Q", version) + account_id.bytes
