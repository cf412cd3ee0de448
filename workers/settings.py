"""Every setting of Matricule, read once from the environment. ``docs/settings.md`` describes each for operators."""

import re
from functools import lru_cache
from ipaddress import ip_network
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlencode

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.access_url import clean_access_url
from models.address import MAX_LOCAL_PART, parse_mailbox
from models.words import Code
from workers.redis_client import connect

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


URL_OF_POSTGRESQL: Final = re.compile(
    r"(?P<beginning>[\w+]+://(?:[^:/]*(?::[^@]*)?@)?)(?P<hosts>[^/?]*)(?P<database>/[^?]*)?(?:\?(?P<options>.*))?"
)

RETURN_MARK_LENGTH: Final = 42
"""Characters that stand for the * of MAIL_RETURN_ADDRESS, different ones in each mail."""

HOST_AND_PORT: Final = re.compile(r"\[?(?P<host>[^\[\]]*?)\]?(?::(?P<port>\d*))?")
"""One of several hosts: a name, or an address in brackets if it has colons, and the port; 5432 when left out."""

HOST_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")

LEAST_SECRET: Final = 32
"""The least characters of a secret that a program sends."""


class Settings(BaseSettings):
    """Environment variables; their names are the field names in upper case."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)  # some are passwords

    database_url: str = Field(
        description="PostgreSQL 15+, e.g. postgresql://user:password@host/matricule; "
        "with several hosts: host:5432,host:5432, of which the one that takes writes is used"
    )
    redis_url: str = Field(
        description="Redis 7+ or Valkey 8+, e.g. redis://host:6379/0, unix:///path.sock "
        "or redis+sentinel://host:26379,host:26379/master/0"
    )
    redis_namespace: str = Field(default="matricule", description="prefix of every key in Redis")
    redis_blocking: bool = Field(
        default=True, description="wait for messages in a command of Redis that blocks; false asks again and again"
    )
    smtp_url: str = Field(
        default="smtp://localhost:25?tls=off",
        description="smtps://user:password@host:465 (TLS from the start), "
        "smtp://user:password@host:587 (STARTTLS required), "
        "smtp://host:25?tls=off (no TLS: only on this machine or a private network)",
    )
    smtp_connections: int = Field(default=16, ge=1, le=64, description="kept-open connections per mailer process")

    mail_from: str = Field(default="", description="From of every mail: Name <address>; required")
    mail_reply_to: str = Field(default="", description="Reply-To of every mail; empty for none")
    mail_bounce_address: str = Field(default="", description="envelope sender; empty for the address of MAIL_FROM")
    mail_return_address: str = Field(
        default="",
        description="envelope sender of its own for each mail: an address with * in its local part, such as "
        "rebonds+*@example.fr; empty for MAIL_BOUNCE_ADDRESS alone",
    )
    bounce_maildir: str = Field(
        default="", description="Maildir in which the reports to these addresses arrive; empty: none is read"
    )
    message_id_domain: str = Field(
        default="", description="right part of Message-ID; empty for the domain of MAIL_FROM"
    )

    platform_name: str = Field(
        default="", description="how mails name the platform; empty for the name in MAIL_FROM, or else its domain"
    )
    support_address: str = Field(default="", description="whom mails say to ask for help; empty for nobody")

    lms_url: str = Field(
        default="",
        description="where people reach their trainings, unless a portal or a training names another address",
    )

    link_base_url: str = Field(
        default="", description="where links in mails lead, never taken from a request; required"
    )
    link_keys: str = Field(
        default="", description="signing keys of links, newest first: id:hex[,id:hex…], 32 bytes each"
    )

    portal_keys: str = Field(
        default="",
        description="secrets from which those of portals derive, newest first: id:hex[,id:hex…], 32 bytes each",
    )

    webhook_private_networks: str = Field(
        default="",
        description="networks that webhooks may reach although they are not public, over http too; with commas between",
    )
    webhook_connections: int = Field(default=8, ge=1, le=64, description="connections to one webhook endpoint at once")
    queue_message_days: int = Field(
        default=7, ge=1, le=60, description="days after which a signed message on the queue `requests` is stale"
    )

    dry_run_company_limit: int = Field(
        default=200_000, ge=1, description="addresses that dry runs may tell a company of in 24 hours"
    )
    dry_run_portal_limit: int = Field(default=500_000, ge=1, description="the same for all companies of a portal")

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
    ops_host: str = Field(default="127.0.0.1", description="address the process for operators listens on")
    ops_port: int = Field(default=8021, ge=0, le=65535, description="port the process for operators listens on")
    metrics_token: str = Field(
        default="", repr=False, description="what /metrics asks for as Authorization: Bearer; empty for nothing"
    )
    ops_hosts: str = Field(
        default="", description="names under which the console answers beside addresses and localhost, commas between"
    )
    ops_proxy_secret: str = Field(
        default="", repr=False, description="what a proxy that signs people in to the console sends; empty for none"
    )
    trusted_proxies: str = Field(
        default="127.0.0.1,::1",
        description="addresses and networks of the proxies whose X-Forwarded-For is believed, with commas between",
    )

    @field_validator("database_url")
    @classmethod
    def _as_sqlalchemy_reads_it(cls, url: str) -> str:
        return _with_hosts_as_options(url)

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

    @field_validator("ops_hosts")
    @classmethod
    def _are_host_names(cls, listed: str) -> str:
        named = [one.strip().lower() for one in listed.split(",") if one.strip()]
        for one in named:
            if HOST_NAME.fullmatch(one) is None:
                raise ValueError(f"{one!r} is no host name without a port, such as ops.example.fr")
        return ",".join(named)

    @field_validator("ops_proxy_secret")
    @classmethod
    def _is_long_enough(cls, secret: str) -> str:
        """Refuses a secret that can be guessed, or that no header can carry."""
        if secret and (len(secret) < LEAST_SECRET or not all("!" <= letter <= "~" for letter in secret)):
            raise ValueError(f"at least {LEAST_SECRET} printable characters without spaces: openssl rand -hex 32")
        return secret

    @field_validator("webhook_private_networks")
    @classmethod
    def _are_networks(cls, listed: str) -> str:
        named = [one.strip() for one in listed.split(",") if one.strip()]
        for one in named:
            try:
                ip_network(one)
            except ValueError:
                raise ValueError(f"{one!r} is no network, such as 10.1.0.0/16 or 127.0.0.0/8") from None
        return ",".join(named)

    @field_validator("lms_url")
    @classmethod
    def _leads_to_a_page(cls, url: str) -> str:
        """Refuses what no button may lead to."""
        cleaned = clean_access_url(url) if url else ""
        if isinstance(cleaned, Code):
            raise ValueError("neither http://host/path nor https://host/path, without a user")  # noqa: TRY004
        return cleaned

    @field_validator("mail_from", "mail_reply_to", "mail_bounce_address", "support_address")
    @classmethod
    def _is_one_address(cls, given: str, field: ValidationInfo) -> str:
        """Refuses what is not exactly one address: a part of it would be taken, and mails would come from a stranger's.

        Only MAIL_FROM may have a name before its address.
        """
        if not given.strip():
            return ""
        mailbox = parse_mailbox(given)
        named = field.field_name == "mail_from"
        if mailbox is None or (not named and given.strip() != mailbox.address and "<" in given):
            form = 'Name <formation@example.fr>, a name with a comma in quotes ("A, B")' if named else "aide@example.fr"
            raise ValueError(f"not exactly one mail address: give it as {form}")
        return given.strip()

    @field_validator("mail_return_address")
    @classmethod
    def _has_room_for_a_mark(cls, given: str) -> str:
        """Refuses an address without exactly one ``*``, or with a local part that the mark makes too long."""
        given = given.strip()
        if not given:
            return ""
        local_part, _, domain = given.rpartition("@")
        mailbox = parse_mailbox(given.replace("*", "0" * RETURN_MARK_LENGTH))
        if local_part.count("*") != 1 or "*" in domain or mailbox is None or "<" in given:
            most = MAX_LOCAL_PART - RETURN_MARK_LENGTH
            raise ValueError(
                f"not one mail address with one * and at most {most} other characters before the @: give it as "
                "rebonds+*@example.fr"
            )
        return given.lower()

    @field_validator("redis_url")
    @classmethod
    def _can_be_used(cls, url: str) -> str:
        """Parses the URL as the client does, without connecting. With a wrong URL, jobs would be accepted and their
        wake-ups would fail.
        """
        connect(url, retries=0, seconds=1)
        return url

    @field_validator("platform_name")
    @classmethod
    def _named_as_the_sender(cls, name: str, others: ValidationInfo) -> str:
        mailbox = parse_mailbox(others.data.get("mail_from", ""))
        if mailbox is None:
            return name
        return name or mailbox.name or mailbox.address.rpartition("@")[2]


def _with_hosts_as_options(url: str) -> str:
    """Moves several hosts of a URL of PostgreSQL into its options, where SQLAlchemy looks for them.

    All processes write, so of several hosts they use the one that takes writes, unless the URL asks for another.
    """
    parts = URL_OF_POSTGRESQL.fullmatch(url)
    options = parse_qsl(parts["options"]) if parts and parts["options"] else []
    named = ",".join(value for name, value in options if name == "host")
    if parts is None or "," not in parts["hosts"] + named:
        return url
    hosts = parts["hosts"]
    if "," in hosts:
        pairs = [HOST_AND_PORT.fullmatch(unquote(one)) for one in hosts.split(",")]
        options += [(name, ",".join((pair and pair[name]) or "" for pair in pairs)) for name in ("host", "port")]
        hosts = ""
    if "target_session_attrs" not in dict(options):
        options.append(("target_session_attrs", "read-write"))
    return f"{parts['beginning']}{hosts}{parts['database'] or '/'}?{urlencode(options)}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Returns the settings of this process; raises pydantic's ValidationError with the names of missing variables."""
    return Settings()


def explain(error: ValidationError, *, how_to_set: str = "docs/settings.md says what each is for") -> str:
    """Names each setting that is missing or wrong, without its value, which may be a password."""
    items = [(str(item["loc"][0]).upper(), item) for item in error.errors() if item["loc"]]
    unset = [name for name, item in items if item["type"] == "missing"]
    wrong = [
        f"{name}: {item['msg'].removeprefix('Value error, ')}" for name, item in items if item["type"] != "missing"
    ]
    missing = [f"{', '.join(unset)} not set ({how_to_set})"] if unset else []
    return "nothing was done: " + "; ".join(missing + wrong)
