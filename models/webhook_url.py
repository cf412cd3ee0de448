"""The form of the URL of a webhook endpoint; which addresses it leads to is judged at each attempt, not here."""

from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

LONGEST_WEBHOOK_URL: Final = 2_000

WEBHOOK_PORTS: Final = (443, 8443)
"""The ports of public receivers; others are reached in private networks alone."""


class WrongUrl(StrEnum):
    """The reason why an endpoint cannot have a URL."""

    BAD_URL = "bad_url"  # no URL, too long, without a host, or with a user, a password or a fragment
    HTTPS_REQUIRED = "https_required"  # without TLS, which only private networks may be
    PORT_REFUSED = "port_refused"  # a port that only private networks may have


def check_webhook_url(url: str, *, private: bool) -> WrongUrl | None:
    """Returns why an endpoint cannot have this URL, or None.

    Parameters:
      private: webhooks may reach private networks: over http, and on any port.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return WrongUrl.BAD_URL
    strange = any(sign <= " " or sign in {"\x7f", "\\"} for sign in url) or port == 0
    if len(url) > LONGEST_WEBHOOK_URL or strange or "@" in parts.netloc or "#" in url:
        return WrongUrl.BAD_URL
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return WrongUrl.BAD_URL if parts.scheme in ("https", "http", "") else WrongUrl.HTTPS_REQUIRED
    if private:
        return None
    if parts.scheme == "http":
        return WrongUrl.HTTPS_REQUIRED
    return None if (port or 443) in WEBHOOK_PORTS else WrongUrl.PORT_REFUSED
