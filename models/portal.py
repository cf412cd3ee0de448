"""Portals: the upstream systems that send requests."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlmodel import Field

from models.base import Record, instant, new_id

LOCAL_PORTAL_ID: Final = UUID("00000000-0000-7000-8000-000000000001")
"""The portal `local`, there from the first migration: requests typed in a shell on this system."""


class Portal(Record, table=True):
    """An upstream system."""

    __tablename__ = "portal"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    name: str = Field(unique=True)
    organisation_id: UUID | None = Field(default=None, foreign_key="organisation.id")  # in whose name it certifies
    created_at: datetime = instant(default_now=True)
