"""The keys that sign links, read from the settings once per process."""

from functools import lru_cache

from workers.security.tokens import SigningKeys
from workers.settings import get_settings


@lru_cache(maxsize=1)
def signing_keys() -> SigningKeys:
    """The keys of LINK_KEYS, newest first; raises NotConfigured."""
    return SigningKeys.parse(get_settings().link_keys)
