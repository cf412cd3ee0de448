"""A portal is an upstream system that sends requests; a training organisation signs its certificates."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import JSON, LargeBinary
from sqlmodel import Field

from models.base import Record, instant, new_id

LOCAL_PORTAL_ID: Final = UUID("00000000-0000-7000-8000-000000000001")
"""The portal `local` exists from the first migration on; requests typed in a shell of this system use it."""


class Portal(Record, table=True):
    """An upstream system that sends requests."""

    __tablename__ = "portal"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    name: str = Field(unique=True)
    organisation_id: UUID | None = Field(default=None, foreign_key="organisation.id")  # signs its certificates
    access_url: str | None = None  # where people reach its trainings; None: the setting LMS_URL
    requests_per_minute: int | None = Field(default=6_000, sa_column_kwargs={"server_default": "6000"})  # None: any
    contact: str | None = None  # the address of the people who run it: told when its webhooks fail
    created_at: datetime = instant(default_now=True)


class PortalKey(Record, table=True):
    """A key with which a portal calls the HTTP API, and from which the secret of its queue door is derived.

    The key itself is not kept: ``hash`` is its SHA-256. A portal may have several that live, for rotation.
    """

    __tablename__ = "portal_key"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    key_id: str = Field(unique=True)  # the part of the key that may be shown
    portal_id: UUID = Field(foreign_key="portal.id", index=True)
    hash: bytes = Field(sa_type=LargeBinary, unique=True)
    scopes: Any = Field(sa_type=JSON(none_as_null=True), nullable=False)  # words of ``Scope``
    companies: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # references; None: all
    master_id: str | None = None  # the secret of ``PORTAL_KEYS`` that its queue secret derives from; None: no queue
    created_at: datetime = instant(default_now=True)
    expires_at: datetime | None = instant(nullable=True)
    revoked_at: datetime | None = instant(nullable=True)
    last_used_at: datetime | None = instant(nullable=True)  # by the minute


class Organisation(Record, table=True):
    """A training organisation (organisme de formation), which signs the certificates of its portals."""

    __tablename__ = "organisation"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    reference: str = Field(unique=True)
    legal_name: str
    address: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # its lines
    siret: str | None = None
    activity_number: str | None = None
    activity_region: str | None = None
    signatory_name: str
    signatory_quality: str
    place: str
    colour: str | None = None
    logo: str | None = None  # SHA-256 of the picture
    created_at: datetime = instant(default_now=True)


class Logo(Record, table=True):
    """A picture that was checked at upload; it never changes, because certificates name it by its hash."""

    __tablename__ = "logo"

    sha256: str = Field(primary_key=True)
    content: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = instant(default_now=True)
