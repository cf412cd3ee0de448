"""Reads from SMTP_URL which relay to use and how to protect the connection."""

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qs, unquote, urlsplit

from workers.errors import NotConfigured


class RelaySecurity(StrEnum):
    """The protection of the connection to the relay."""

    IMPLICIT = "implicit"  # TLS from the first byte (smtps://)
    STARTTLS = "starttls"  # required: a relay that does not offer it gets nothing
    OFF = "off"  # ?tls=off


@dataclass(frozen=True, slots=True)
class Relay:
    """The relay of SMTP_URL. Its ``repr`` never shows the password."""

    host: str
    port: int
    security: RelaySecurity
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Host and port, which the register of relays and operators know it by."""
        return f"{self.host}:{self.port}"


def parse_smtp_url(url: str) -> Relay:
    """Reads the URL of a relay; ``workers.settings`` describes SMTP_URL.

    Raises:
      NotConfigured: says what is wrong with SMTP_URL, without repeating it (it holds a password).
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise NotConfigured("SMTP_URL: the host or the port is malformed") from None
    options = parse_qs(parts.query, keep_blank_values=True)
    if parts.scheme not in {"smtp", "smtps"}:
        raise NotConfigured("SMTP_URL must begin with smtp:// or smtps://")
    if not parts.hostname or parts.path not in {"", "/"} or parts.fragment:
        raise NotConfigured("SMTP_URL must read scheme://user:password@host:port; write / ? # @ in a password as %XX")
    if options not in ({}, {"tls": ["off"]}) or (options and parts.scheme == "smtps"):
        raise NotConfigured("SMTP_URL: the only option is ?tls=off, and only with smtp://")
    if (parts.username is None) != (parts.password is None):
        raise NotConfigured("SMTP_URL: give both user and password, or neither")
    if parts.scheme == "smtps":
        security, usual = RelaySecurity.IMPLICIT, 465
    else:
        security, usual = (RelaySecurity.OFF, 25) if options else (RelaySecurity.STARTTLS, 587)
    return Relay(
        host=parts.hostname,
        port=port or usual,
        security=security,
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )
