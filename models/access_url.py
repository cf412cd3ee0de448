"""The address where people reach their training: it comes from a portal, and stands behind a button in our mails."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

import idna

from models.words import Code

MAX_ACCESS_URL: Final = 500
MOST_WAYS: Final = 5

_UNSAFE: Final = re.compile(
    r"[\x00-\x20\x7f-\xa0\\<>\"'`{}|^\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_KEPT: Final = "/?#[]@!$&()*+,;=:%-._~"
"""Characters of an address (RFC 3986) that stay as they are; others are written in percent."""


def clean_access_url(text: str) -> str | Code:
    """Returns an address that may stand behind a button: ASCII, with http or https and a host.

    The host is written as DNS knows it, because letters of other scripts may look like those of a known host.

    Returns:
      The address; or ``INVALID_URL`` if it has another scheme (``javascript:``), no host, a user or a password (which
      would hide the true host), a wrong port, white space or signs that mails and pages could misread;
      ``VALUE_TOO_LONG`` if it is over 500 characters.
    """
    trimmed = text.strip(" ")
    if len(trimmed) > MAX_ACCESS_URL:
        return Code.VALUE_TOO_LONG
    if _UNSAFE.search(trimmed):
        return Code.INVALID_URL
    try:
        cleaned = _cleaned(trimmed)
    except (ValueError, UnicodeError):
        return Code.INVALID_URL
    if cleaned is None:
        return Code.INVALID_URL
    return cleaned if len(cleaned) <= MAX_ACCESS_URL else Code.VALUE_TOO_LONG


def _cleaned(text: str) -> str | None:
    parts = urlsplit(text)
    host = _known_to_dns(parts.hostname or "")
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not host:
        return None
    port = f":{parts.port}" if parts.port is not None else ""
    rest = quote(text[len(text.partition("://")[0]) + 3 + len(parts.netloc) :], safe=_KEPT)
    return f"{parts.scheme}://{host}{port}{rest}"


def _known_to_dns(host: str) -> str | None:
    ascii_host = idna.encode(host, uts46=True).decode("ascii") if not host.isascii() else host.lower().rstrip(".")
    return ascii_host if _HOST.fullmatch(ascii_host) and len(ascii_host) <= 253 else None


def host_of(url: str) -> str:
    """Returns the host of a cleaned address, which people are shown beside the button."""
    return urlsplit(url).hostname or ""


class ReachableTraining(NamedTuple):
    """A training that a person takes part in, and where it is reached: None when neither it nor its portal says."""

    title: str
    url: str | None


class WayIn(NamedTuple):
    """A button that leads to one or more trainings; `title` is that of the only one."""

    url: str
    title: str | None

    @property
    def host(self) -> str:
        """The host that the button leads to."""
        return host_of(self.url)


def ways_in(trainings: Sequence[ReachableTraining], default: str) -> list[WayIn]:
    """Returns the buttons that lead a person to their trainings, one for each address, at most five.

    Parameters:
      trainings: the latest first.
      default: where trainings without an address are reached; empty for nowhere.
    """
    titles: dict[str, set[str]] = {}
    for training in trainings:
        if url := training.url or default:
            titles.setdefault(url, set()).add(training.title)
    if default and not trainings:
        titles[default] = set()
    ways = [WayIn(url, next(iter(of_url)) if len(of_url) == 1 else None) for url, of_url in titles.items()]
    return ways[:MOST_WAYS]
