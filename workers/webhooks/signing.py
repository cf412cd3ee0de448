"""Signs webhooks as Standard Webhooks 1.0.0 says: each of the endpoint's secrets signs the bytes that are sent."""

import base64
import hashlib
import hmac
from functools import lru_cache
from uuid import UUID

from workers.portals.secrets import WEBHOOK_PREFIX, webhook_secret


@lru_cache(maxsize=1_000)
def _key(master_id: str, endpoint_id: UUID, version: int) -> bytes:
    return base64.b64decode(webhook_secret(master_id, endpoint_id, version).removeprefix(WEBHOOK_PREFIX))


def signature(
    body: bytes, *, webhook_id: str, timestamp: str, master_id: str, endpoint_id: UUID, versions: tuple[int, ...]
) -> str:
    """Returns the header ``webhook-signature``: one signature for each version of the secret, with spaces between.

    Raises: NotConfigured when ``PORTAL_KEYS`` lacks the master secret.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    macs = (hmac.digest(_key(master_id, endpoint_id, version), signed, hashlib.sha256) for version in versions)
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)
