"""Every setting of Matricule, read once from the environment. ``docs/settings.md`` describes each for operators."""

from email.utils import parseaddr
from functools import lru_cache
from ipaddress import ip_network
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from redis import ConnectionPool

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class Settings(BaseSettings):
    """Environment variables; their names are the field names in upper case."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)  # some are passwords

    database_url: str = Field(description="PostgreSQL 15+, e.g. postgresql://user:password@host/matricule")
    redis_url: str = Field(description="Redis 7+ or Valkey 8+, e.g. redis://host:6379/0 or unix:///path.sock")
    redis_namespace: str = Field(default="matricule", description="prefix of every key in Redis")
    smtp_url: str = Field(
        default="smtp://localhost:25?tls=off",
        description="smtps://user:password@host:465 (TLS from the start), "
        "smtp://user:password@host:587 (STARTTLS required), "
        "smtp://host:25?tls=off (no TLS: only on this machine or a private network)",
    )
    smtp_connections: int = Field(default=4, ge=1, le=64, description="kept-open connections per mailer process")

    mail_from: str = Field(default="", description="From of every mail: Name <address>; required")
    mail_reply_to: str = Field(default="", description="Reply-To of every mail; empty for none")
    mail_bounce_address: str = Field(default="", description="envelope sender; empty for the address of MAIL_FROM")
    message_id_domain: str = Field(
        default="", description="right part of Message-ID; empty for the domain of MAIL_FROM"
    )

    platform_name: str = Field(
        default="", description="how mails name the platform; empty for the name in MAIL_FROM, or else its domain"
    )
    support_address: str = Field(default="", description="whom mails say to ask for help; empty for nobody")

    link_base_url: str = Field(
        default="", description="where links in mails lead, never taken from a request; required"
    )
    link_keys: str = Field(
        default="", description="signing keys of links, newest first: id:hex[,id:hex…], 32 bytes each"
    )

    certificate_store: str = Field(
        default="var/certificates",
        description="where documents lie, as fsspec reads it: a folder all processes share, s3://bucket/folder …",
    )
    seal_pkcs12: str = Field(default="", description="file of the key that seals documents; empty for no seal")
    seal_password: str = Field(default="", repr=False, description="what opens that file")
    seal_pkcs11_module: str = Field(default="", description="library of the device that holds the key instead")
    seal_pkcs11_token: str = Field(default="", description="label of its token")
    seal_pkcs11_key: str = Field(default="", description="label of key and certificate on it")
    seal_pkcs11_pin: str = Field(default="", repr=False, description="its PIN")

    lease_seconds: float = Field(
        default=30.0, gt=0, description="how long claimed work may stay silent before it is rescued"
    )
    claim_size: int = Field(default=200, ge=1, le=1000, description="jobs claimed at once")
    log_level: LogLevel = Field(default="INFO", description="the least that is logged, in capitals or not")
    host: str = Field(default="127.0.0.1", description="address the web process listens on")
    port: int = Field(default=8020, ge=0, le=65535, description="port the web process listens on")
    trusted_proxies: str = Field(
        default="127.0.0.1,::1",
        description="addresses and networks of the proxies whose X-Forwarded-For is believed, with commas between",
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_capitals(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @field_validator("trusted_proxies")
    @classmethod
    def _named_one_by_one(cls, listed: str) -> str:
        """Refuses a wildcard: a trusted proxy may report any address, so a wildcard would disable the rate limit by
        network.
        """
        named = [one.strip() for one in listed.split(",") if one.strip()]
        for one in named:
            try:
                everybody = ip_network(one).prefixlen == 0
            except ValueError:
                everybody = True
            if everybody:
                raise ValueError(
                    f"{one!r} is neither an address nor a network of proxies, such as 10.0.0.7,10.1.0.0/16"
                )
        return ",".join(named)

    @field_validator("redis_url")
    @classmethod
    def _can_be_used(cls, url: str) -> str:
        """Parses the URL as the client does, without connecting. With a wrong URL, jobs would be accepted and their
        wake-ups would fail.
        """
        try:
            ConnectionPool.from_url(url).make_connection()
        except (TypeError, ValueError):  # the text of the error may show a part of the password
            raise ValueError("not redis://host:6379/0, rediss://… or unix:///path.sock") from None
        return url

    @field_validator("platform_name")
    @classmethod
    def _named_as_the_sender(cls, name: str, others: ValidationInfo) -> str:
        shown, address = parseaddr(others.data.get("mail_from", ""))
        return name or shown or address.rpartition("@")[2]


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Returns the settings of this process; raises pydantic's ValidationError with the names of missing variables."""
    return Settings()
