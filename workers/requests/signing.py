"""The signature of what a portal puts on a queue, in a form that any language writes with a few lines.

    v1,<base64 of HMAC-SHA256(secret, text)>

The text is seven lines, each with a line end, and then the body as the very bytes that are sent::

    matricule-queue-v1
    <portal>
    <key id>
    <kind>
    <version>
    <key>
    <sent_at>
    <body>

No field can hold a line end, and the body comes last, so two different messages have different texts. The body is
signed as bytes, so no language has to write JSON in a form of ours. The ASCII bytes of the secret are the key of the
HMAC. ``sent_at`` is in whole seconds since 1970, so that an old message is known as old.
"""

import base64
import hashlib
import hmac
from typing import Final, NamedTuple

FIRST_LINE: Final = "matricule-queue-v1"
SIGNATURE_PREFIX: Final = "v1,"


class SignedFields(NamedTuple):
    """The fields of a message that its signature covers.

    Parameters:
      version: the version of the kind, in decimal digits.
      sent_at: when the message was signed, in whole seconds since 1970, in decimal digits.
      body: the request as JSON.
    """

    portal: str
    key_id: str
    kind: str
    version: str
    key: str
    sent_at: str
    body: str

    def is_signed_by(self, secret: str, signature: str) -> bool:
        """Tells whether this signature was made with this secret; it takes the same time for every wrong one.

        A field with a line end is never signed: it could be read as two.
        """
        if any("\n" in line for line in self[:-1]):
            return False
        return hmac.compare_digest(self._signature(secret), signature.encode())

    def sign(self, secret: str) -> str:
        """Returns the signature of these fields.

        Raises: ValueError when a field but the body has a line end.
        """
        if any("\n" in line for line in self[:-1]):
            raise ValueError("a field that is signed has a line end")
        return self._signature(secret).decode()

    def _signature(self, secret: str) -> bytes:
        text = "\n".join((FIRST_LINE, *self)).encode()
        return SIGNATURE_PREFIX.encode() + base64.b64encode(hmac.digest(secret.encode(), text, hashlib.sha256))


def sign(secret: str, *, portal: str, key_id: str, kind: str, version: int, key: str, sent_at: int, body: str) -> str:
    """Returns the signature of a message that a portal sends.

    Parameters:
      secret: the queue secret of the key, as `portal create --queue` showed it.
      body: the request as JSON, exactly as it is sent.

    Raises: ValueError when a field but the body has a line end.
    """
    return SignedFields(portal, key_id, kind, str(version), key, str(sent_at), body).sign(secret)
