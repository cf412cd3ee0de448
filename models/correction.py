"""Corrections of an account's address, and the rule that says when one may be applied."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.words import CorrectionState


class EmailCorrection(Record, table=True):
    """A correction that was asked for: from which address to which, and what speaks for it so far.

    One is pending per account at most.
    """

    __tablename__ = "email_correction"
    __table_args__ = (
        CheckConstraint("state IN ({})".format(", ".join(f"'{word}'" for word in CorrectionState)), name="state"),
        Index("uq_email_correction_pending", "account_id", unique=True, postgresql_where=text("state = 'pending'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", index=True)
    enrollment_id: UUID | None = None  # the row that was ticked; None when ops asked
    company_id: UUID | None = None  # whose manager asked; None when ops did
    portal_id: UUID
    job_id: UUID
    requested_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    old_email: str
    new_email: str
    state: str = CorrectionState.PENDING
    ground: str | None = None  # why it was applied
    asked_at: datetime = instant(default_now=True)
    confirmed_at: datetime | None = instant(nullable=True)  # the new address confirmed
    password_given_at: datetime | None = instant(nullable=True)
    agreed_at: datetime | None = instant(nullable=True)  # the old address agreed
    ended_at: datetime | None = instant(nullable=True)
