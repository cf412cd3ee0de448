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
    created_at: datetime = instant(default_now=True)


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
