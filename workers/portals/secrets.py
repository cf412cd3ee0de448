"""Secrets that portals share with Matricule. They are derived from ``PORTAL_KEYS`` and never stored.

Who signs or checks an HMAC needs the secret itself, so its hash would be of no use. A row names the master secret and
what is signed; a copy of the database signs nothing.
"""

import base64
import hashlib
import hmac
from functools import lru_cache
from typing import Final
from uuid import UUID

from workers.errors import NotConfigured
from workers.security.tokens import SigningKeys
from workers.settings import get_settings

_QUEUE_DOMAIN: Final = b"matricule queue secret, first form\n"
_WEBHOOK_DOMAIN: Final = b"matricule webhook secret, first form\n"
_REDIS_DOMAIN: Final = b"matricule redis password, first form\n"

QUEUE_PREFIX: Final = "mqs_"
WEBHOOK_PREFIX: Final = "whsec_"
REDIS_PREFIX: Final = "mrp_"


@lru_cache(maxsize=1)
def master_secrets() -> SigningKeys:
    """Returns the secrets of ``PORTAL_KEYS``, newest first.

    Raises: NotConfigured when they are missing or cannot be read.
    """
    return SigningKeys.parse(get_settings().portal_keys, "PORTAL_KEYS")


def queue_secret(master_id: str, key_id: str) -> str:
    """Returns the secret with which a portal signs what it puts on a queue: its ASCII bytes are the key of the HMAC.

    Parameters:
      master_id: the secret of ``PORTAL_KEYS`` that the row of the key names.
      key_id: the id of the portal's key.

    Raises: NotConfigured when this secret is no longer in ``PORTAL_KEYS``.
    """
    mac = _derived(master_id, _QUEUE_DOMAIN, key_id.encode())
    return QUEUE_PREFIX + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def redis_password(master_id: str, key_id: str) -> str:
    """Returns the password of the user of Redis with which a portal reaches its streams.

    Raises: NotConfigured when this secret is no longer in ``PORTAL_KEYS``.
    """
    mac = _derived(master_id, _REDIS_DOMAIN, key_id.encode())
    return REDIS_PREFIX + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def webhook_secret(master_id: str, endpoint_id: UUID, version: int) -> str:
    """Returns the secret of a webhook endpoint as Standard Webhooks 1.0.0 writes it: ``whsec_`` and base64.

    Parameters:
      version: a number from 1, which a rotation makes one higher.

    Raises: NotConfigured when this master secret is no longer in ``PORTAL_KEYS``.
    """
    mac = _derived(master_id, _WEBHOOK_DOMAIN, endpoint_id.bytes + version.to_bytes(8, "big"))
    return WEBHOOK_PREFIX + base64.b64encode(mac).decode()


def _derived(master_id: str, domain: bytes, subject: bytes) -> bytes:
    master = master_secrets().secret(master_id)
    if master is None:
        raise NotConfigured(f"PORTAL_KEYS lacks the key {master_id!r} that a portal's secret derives from: put it back")
    return hmac.digest(master, domain + subject, hashlib.sha256)
