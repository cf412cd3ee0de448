"""Mails that are owed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, Index
from sqlmodel import Field

from models.base import HOT_TABLE, OwedWork, instant, new_id
from models.job import RUNNING, WAITING
from models.words import EmailState


class Email(OwedWork, table=True):
    """One mail to one person. Message-ID and date are fixed here, so that a repeat is recognised as one.

    ``context`` holds identifiers and plain facts; never a link, a token or rendered text.
    """

    __tablename__ = "email"
    __table_args__ = (
        CheckConstraint("state IN ({})".format(", ".join(f"'{word}'" for word in EmailState)), name="state"),
        Index("ix_email_waiting", "queue", "lane", "due_at", "id", postgresql_where=WAITING),
        Index("ix_email_account_id", "account_id", "enrollment_id"),
        Index("ix_email_running", "queue", "lane", postgresql_where=RUNNING),
        HOT_TABLE,
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    kind: str
    dedup_key: str = Field(unique=True)
    to_address: str
    locale: str
    context: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    message_id: str
    date: datetime = instant()
    expires_at: datetime = instant()
    state: str = EmailState.OWED
    account_id: UUID | None = None
    enrollment_id: UUID | None = None
    contract_id: UUID | None = None
    job_id: UUID | None = None
    result: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    error: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
