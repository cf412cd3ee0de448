"""Reads the keys that sign links from the settings, once per process."""

from functools import lru_cache

from workers.security.tokens import SigningKeys
from workers.settings import get_settings


@lru_cache(maxsize=1)
def signing_keys() -> SigningKeys:
    """Returns the keys of LINK_KEYS, newest first.

    Raises: NotConfigured when they are missing or cannot be read.
    """
    return SigningKeys.parse(get_settings().link_keys)
