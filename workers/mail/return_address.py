"""Gives each mail a return address of its own (VERP), by which a report about it is believed.

The mark of a mail is its identifier and a tag that only we can compute. So a report names its mail without being
parsed, and a stranger who knows or guesses the identifier of a mail cannot forge one: the recipient and the servers on
the way know the mark of this one mail, and no other.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Collection, Iterator
from typing import Final, Self
from uuid import UUID

from workers.mail.message import configured_address
from workers.security.tokens import SigningKeys
from workers.settings import RETURN_MARK_LENGTH, Settings

_DOMAIN: Final = b"matricule return address 1\0"
_TAG_BYTES: Final = 10
_PADDING: Final = "=" * 6
MOST_MARKS: Final = 20
"""Marks that are checked in one message; a forger may write thousands."""


class ReturnAddresses:
    """The return addresses of mails, by one template.

    Parameters:
      template: a mail address with a ``*`` where the mark of each mail stands.
      secrets: the keys that tags are made with, the newest first; those of all are believed.
    """

    def __init__(self, template: str, secrets: Collection[bytes]) -> None:
        self._before, _, self._after = template.partition("*")
        self._keys = [hmac.digest(secret, _DOMAIN, hashlib.sha256) for secret in secrets]
        before, after = (re.escape(part.encode("ascii")) for part in (self._before, self._after))
        self._address = re.compile(before + b"([a-z2-7]{%d})" % RETURN_MARK_LENGTH + after, re.IGNORECASE)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Returns the addresses of MAIL_RETURN_ADDRESS; None when it is empty: then all mails have one address.

        Raises: NotConfigured when the setting is no address, or LINK_KEYS cannot be read.
        """
        if not settings.mail_return_address:
            return None
        keys = SigningKeys.parse(settings.link_keys)
        secrets = [secret for key_id in keys.key_ids if (secret := keys.secret(key_id))]
        marked = settings.mail_return_address.replace("*", "0" * RETURN_MARK_LENGTH)
        domain = configured_address("MAIL_RETURN_ADDRESS", marked).rpartition("@")[2]
        return cls(settings.mail_return_address.rpartition("@")[0] + "@" + domain, secrets)

    def of(self, mail_id: UUID) -> str:
        """Returns the return address of a mail: the same at each attempt, in lower case."""
        octets = mail_id.bytes
        octets += hmac.digest(self._keys[0], octets, hashlib.sha256)[:_TAG_BYTES]
        return self._before + base64.b32encode(octets).decode("ascii")[:RETURN_MARK_LENGTH].lower() + self._after

    def find(self, text: bytes) -> UUID | None:
        """Returns the mail with the first return address of ours in a text; None when there is none, or forged ones."""
        return next((mail_id for mail_id in self._marked(text) if mail_id is not None), None)

    def _marked(self, text: bytes) -> Iterator[UUID | None]:
        tried: set[bytes] = set()
        for found in self._address.finditer(text):
            mark = found[1].lower()
            if mark in tried:
                continue
            if len(tried) >= MOST_MARKS:
                return
            tried.add(mark)
            yield self._read(mark)

    def _read(self, mark: bytes) -> UUID | None:
        try:
            octets = base64.b32decode(mark.upper() + _PADDING.encode())
        except binascii.Error:
            return None
        given, tag = octets[:16], octets[16:]
        expected = (hmac.digest(key, given, hashlib.sha256)[:_TAG_BYTES] for key in self._keys)
        return UUID(bytes=given) if any(hmac.compare_digest(one, tag) for one in expected) else None
