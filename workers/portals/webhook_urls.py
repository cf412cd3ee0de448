"""Reads the URL of an endpoint as it is sent to, where it is recorded and at each try: so both refuse the same."""

import re
from ipaddress import IPv6Address
from typing import Final

import httpx2

from models.webhook_url import WrongUrl, check_webhook_url

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\.?", re.IGNORECASE)

LONGEST_NAME: Final = 253


def read_webhook_url(url: str, *, private: bool) -> httpx2.URL | WrongUrl:
    """Returns the URL in parts, or why an endpoint cannot have it; it resolves nothing.

    Parameters:
      private: webhooks may reach private networks: over http, and on any port.
    """
    refused = check_webhook_url(url, private=private)
    if refused:
        return refused
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError, ValueError):
        return WrongUrl.BAD_URL
    host = parsed.raw_host.decode("ascii", "replace")
    return WrongUrl.BAD_URL if parsed.userinfo or not _is_host(host) else parsed


def _is_host(host: str) -> bool:
    """Tells whether this is an address, or a name that the DNS could have (RFC 1035, and the underscore)."""
    if ":" not in host:
        return len(host) <= LONGEST_NAME + host.endswith(".") and _NAME.fullmatch(host) is not None
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False
