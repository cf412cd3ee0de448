"""Mails that are owed, and the addresses no mail is sent to, for a time or until ops take them off the list."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, Index
from sqlmodel import Field

from models.base import HOT_TABLE, OwedWork, Record, instant, new_id
from models.job import RUNNING, WAITING
from models.mails import INVITING as INVITING_KINDS
from models.mails import quoted
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


INVITING: Final = f"m.kind IN ({quoted(INVITING_KINDS)})"
"""A mail that tells a person of an enrollment and brings the link, in SQL where the table is ``m``."""


class SuppressionReason(StrEnum):
    """Why an address is on the list."""

    HARD_BOUNCE = "hard_bounce"  # its server said that there is no such mailbox
    OPS = "ops"  # put there by hand, after a complaint for example


HARD_BOUNCE_LIFETIME: Final = timedelta(days=7)
"""How long an address that bounced is left alone: somebody hired today may be given their mailbox in a few days, while
mail providers think less of a sender who goes on writing to addresses that do not exist."""


class SuppressionListing(NamedTuple):
    """Why an address is on the list, since when, and until when (None: until it is taken off)."""

    reason: SuppressionReason
    since: datetime
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        """Whether mails are still kept from the address."""
        return self.until is None or self.until > now


def bounced(known: SuppressionListing | None, now: datetime) -> SuppressionListing:
    """What stands on the list once a mail to the address has bounced.

    What ops wrote stays. A further bounce prolongs what holds still, and counts from then; what is over begins anew.
    """
    until = now + HARD_BOUNCE_LIFETIME
    if known is None or not known.holds(now):
        return SuppressionListing(SuppressionReason.HARD_BOUNCE, now, until)
    return known if known.until is None else known._replace(until=max(known.until, until))


def listed_by_ops(known: SuppressionListing | None, now: datetime, lasts: timedelta | None) -> SuppressionListing:
    """What stands on the list once ops put an address there; the same when it says as much already.

    Parameters:
      known: what stands there.
      lasts: for how long, None until it is taken off. It shortens nothing.
    """
    if known is None or not known.holds(now):
        return SuppressionListing(SuppressionReason.OPS, now, None if lasts is None else now + lasts)
    if known.until is None or (lasts is not None and now + lasts <= known.until):
        return known
    return SuppressionListing(SuppressionReason.OPS, now, None if lasts is None else now + lasts)


class Suppression(Record, table=True):
    """An address that is left alone."""

    __tablename__ = "suppression"

    email_norm: str = Field(primary_key=True)
    reason: str
    created_at: datetime = instant(default_now=True)
    until: datetime | None = instant(nullable=True)  # None: until it is taken off
