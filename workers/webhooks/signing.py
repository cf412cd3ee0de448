"""Signs webhooks as Standard Webhooks 1.0.0 says: each of the endpoint's secrets signs the bytes that are sent."""

import base64
import hashlib
import hmac
from functools import lru_cache
from uuid import UUID

from workers.portals.secrets import WEBHOOK_PREFIX, webhook_secret


@lru_cache(maxsize=1_000)
def _keyed(master_id: str, endpoint_id: UUID, version: int) -> hmac.HMAC:
    """Returns an HMAC that has read its key alone; it is copied for each webhook.

    ``hmac.digest`` would give up the interpreter's lock for each of them, and wait for it while outcomes are recorded.
    """
    secret = webhook_secret(master_id, endpoint_id, version).removeprefix(WEBHOOK_PREFIX)
    return hmac.new(base64.b64decode(secret), digestmod=hashlib.sha256)


def signature(
    body: bytes, *, webhook_id: str, timestamp: str, master_id: str, endpoint_id: UUID, versions: tuple[int, ...]
) -> str:
    """Returns the header ``webhook-signature``: one signature for each version of the secret, with spaces between.

    Raises: NotConfigured when ``PORTAL_KEYS`` lacks the master secret.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    keyed = (_keyed(master_id, endpoint_id, version).copy() for version in versions)
    return " ".join(_signature_of(mac, signed) for mac in keyed)


def _signature_of(mac: hmac.HMAC, signed: bytes) -> str:
    mac.update(signed)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"
