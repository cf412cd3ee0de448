"""Companies: the customers who buy seats."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from models.base import Record, instant, new_id


class Company(Record, table=True):
    """A customer, known by its portal's own reference."""

    __tablename__ = "company"
    __table_args__ = (UniqueConstraint("portal_id", "reference"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    portal_id: UUID = Field(foreign_key="portal.id")
    reference: str
    name: str
    colour: str | None = None  # on its certificates
    logo: str | None = None  # SHA-256 of the picture on them
    created_at: datetime = instant(default_now=True)
