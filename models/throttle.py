"""Throttles: how often something may be asked for, counted in windows that slide."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index
from sqlmodel import Field

from models.base import Record, instant


class Throttle(Record, table=True):
    """One thing that was asked for and counts against its subject, until it is older than every window.

    ``subject`` is an identifier, or the hash of an address: an address nobody is known by is not kept.
    """

    __tablename__ = "throttle"
    __table_args__ = (Index("ix_throttle_subject", "scope", "subject", "at"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    scope: str  # what is counted, and against whom: ``password_reset:account``
    subject: UUID
    at: datetime = instant(default_now=True)
