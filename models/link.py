"""Links in mails, and the rule that says what a link answers."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.words import Code, Purpose

LIFETIME: Final = {
    Purpose.ACTIVATION: timedelta(days=30),
    Purpose.PASSWORD_RESET: timedelta(hours=1),
    Purpose.CORRECTION_CONFIRMATION: timedelta(days=14),
    Purpose.CORRECTION_ANSWER: timedelta(days=14),
    Purpose.NOT_ME: timedelta(days=30),
}

PASSWORD_PURPOSES: Final = (Purpose.ACTIVATION, Purpose.PASSWORD_RESET)
"""What links to the choice of a password are for. One lives per account and purpose; of the others, one per subject."""

LEAST_LEFT: Final = timedelta(days=7)
"""What a link has left when a mail that carries it is owed: the five days a mail may be late, and time to act."""


class Link(Record, table=True):
    """A link somebody holds. The token in it is derived (``workers/security/tokens.py``): nothing secret is stored.

    ``subject_id`` is what it speaks of beside the account: a correction of its address, or an enrollment ("not me").
    """

    __tablename__ = "link"
    __table_args__ = (
        CheckConstraint("purpose IN ({})".format(", ".join(f"'{word}'" for word in Purpose)), name="purpose"),
        Index(
            "uq_link_live",
            "account_id",
            "purpose",
            unique=True,
            postgresql_where=text("consumed_at IS NULL AND voided_at IS NULL AND subject_id IS NULL"),
        ),
        Index(
            "uq_link_live_subject",
            "subject_id",
            "purpose",
            unique=True,
            postgresql_where=text("consumed_at IS NULL AND voided_at IS NULL AND subject_id IS NOT NULL"),
        ),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    purpose: str
    account_id: UUID = Field(foreign_key="account.id", index=True)
    subject_id: UUID | None = None
    key_id: str
    version: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    expires_at: datetime = instant()
    resent: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # times it was asked for again
    consumed_at: datetime | None = instant(nullable=True)
    voided_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


def link_refused(
    *, consumed_at: datetime | None, voided_at: datetime | None, expires_at: datetime, now: datetime
) -> Code | None:
    """Why a link cannot be used any more, or None while it lives."""
    if consumed_at is not None:
        return Code.USED_LINK
    if voided_at is not None:
        return Code.INVALID_LINK
    return Code.EXPIRED_LINK if expires_at <= now else None
