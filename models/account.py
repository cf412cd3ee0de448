"""A person has one account, however many companies enrol them; certificates keep their names after an erasure."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlmodel import Field

from models.base import Record, instant, new_id

GREETED: Final = "coalesce(nullif(a.first_name, ''), a.last_name)"
"""The name that a person is greeted by, in SQL where the table is ``a``: the only one of a person with one name."""


class Account(Record, table=True):
    """A login. ``email_norm`` is a plain unique column, so a key-share lock on the row keeps the address."""

    __tablename__ = "account"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    email_norm: str = Field(unique=True)
    first_name: str
    last_name: str
    locale: str
    password_hash: str | None = None
    credential_version: int = Field(default=1, sa_column_kwargs={"server_default": "1"})  # a new value ends sessions
    activated_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)
    erased_at: datetime | None = instant(nullable=True)  # the row no longer names the person


NEVER_ACTIVATED: Final = "a.activated_at IS NULL AND a.erased_at IS NULL"
"""An account of a person who has not chosen a password yet, in SQL where the table is ``a``."""


class CertificateHolder(Record, table=True):
    """The names under which an erased person completed a training; a certificate is kept longer than an account."""

    __tablename__ = "certificate_holder"

    enrollment_id: UUID = Field(primary_key=True)
    first_name: str
    last_name: str
    kept_until: datetime = instant()
