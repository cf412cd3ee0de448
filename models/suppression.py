"""Addresses no mail is sent to, for a time or until ops take them off the list."""

from datetime import datetime
from enum import StrEnum

from sqlmodel import Field

from models.base import Record, instant


class SuppressionReason(StrEnum):
    """Why an address is on the list."""

    HARD_BOUNCE = "hard_bounce"  # its server said that there is no such mailbox
    OPS = "ops"  # put there by hand, after a complaint for example


class Suppression(Record, table=True):
    """An address that is left alone."""

    __tablename__ = "suppression"

    email_norm: str = Field(primary_key=True)
    reason: str
    created_at: datetime = instant(default_now=True)
    until: datetime | None = instant(nullable=True)  # None: until it is taken off
