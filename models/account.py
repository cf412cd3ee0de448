"""Accounts, one login per person whatever the number of companies, and the names that outlive one on certificates."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlmodel import Field

from models.base import Record, instant, new_id


class Account(Record, table=True):
    """A login. ``email_norm`` is a plain unique column: a key-share lock on the row then holds the address still."""

    __tablename__ = "account"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    email_norm: str = Field(unique=True)
    first_name: str
    last_name: str
    locale: str
    password_hash: str | None = None
    credential_version: int = Field(default=1, sa_column_kwargs={"server_default": "1"})  # moving it ends sessions
    activated_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)
    erased_at: datetime | None = instant(nullable=True)  # nothing tells any more who it was


NEVER_ACTIVATED: Final = "a.activated_at IS NULL AND a.erased_at IS NULL"
"""An account of a person who has not chosen a password yet, in SQL where the table is ``a``."""


class CertificateHolder(Record, table=True):
    """The names an erased person completed a training under: the law has certificates kept longer than accounts."""

    __tablename__ = "certificate_holder"

    enrollment_id: UUID = Field(primary_key=True)
    first_name: str
    last_name: str
    kept_until: datetime = instant()
