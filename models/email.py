"""A mail is owed as a row; an address on the suppression list gets none, for a time or until it is removed."""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, Index, Text, text
from sqlmodel import Field

from models.base import HOT_TABLE, OwedWork, Record, instant, new_id
from models.job import POSTPONED, RUNNING, WAITING, indexes_for_operators
from models.mails import INVITING as INVITING_KINDS
from models.mails import quoted
from models.words import EmailState, StoredWord

STUCK_MAILS: Final = (
    f"state IN ('{EmailState.FAILED}', '{EmailState.EXPIRED}', '{EmailState.UNCERTAIN}', '{EmailState.SUPPRESSED}')"
    " AND due_at IS NULL AND dismissed_at IS NULL"
)
"""The condition of mails that ended without being sent, but for those that are no longer wanted or were dismissed."""


class Email(OwedWork, table=True):
    """One mail to one person. Message-ID and date are fixed here, so that a mail sent twice is recognised as one.

    ``context`` holds identifiers and plain facts; never a link, a token or rendered text.
    """

    __tablename__ = "email"
    __table_args__ = (
        CheckConstraint("state IN ({})".format(", ".join(f"'{word}'" for word in EmailState)), name="state"),
        Index("ix_email_waiting", "queue", "lane", "due_at", "id", postgresql_where=WAITING),
        Index("ix_email_account_id", "account_id", "enrollment_id"),
        Index(
            "ix_email_unsent",
            "contract_id",
            "state",
            "enrollment_id",
            postgresql_where=text(f"state <> '{EmailState.SENT}' AND enrollment_id IS NOT NULL"),
        ),
        Index(  # mails to an address; of ended ones alone, so that it is written once for each
            "ix_email_to",
            "to_address",
            "id",
            postgresql_ops={"to_address": "text_pattern_ops"},
            postgresql_where=text("finished_at IS NOT NULL AND to_address <> ''"),
        ),
        Index(
            "ix_email_of_job", "job_id", "id", postgresql_where=text("finished_at IS NOT NULL AND job_id IS NOT NULL")
        ),
        Index("ix_email_running", "queue", "lane", postgresql_where=RUNNING),
        Index("ix_email_postponed", "queue", "lane", "due_at", postgresql_where=POSTPONED),
        *indexes_for_operators("email", STUCK_MAILS),
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
    trouble: str | None = Field(default=None, sa_type=Text)  # of the last failure (``models.trouble``)
    dismissed_at: datetime | None = instant(nullable=True)  # an operator said that it is no problem
    returned_at: datetime | None = instant(nullable=True)  # a report came: it bounced, or was called spam


INVITING: Final = f"m.kind IN ({quoted(INVITING_KINDS)})"
"""A mail that tells a person of an enrollment and brings the link, in SQL where the table is ``m``."""


class SuppressionReason(StoredWord):
    """The reason an address is on the suppression list."""

    HARD_BOUNCE = "hard_bounce"  # its server said that the mailbox does not exist
    COMPLAINT = "complaint"  # its owner called a mail of ours spam; until an operator lifts it
    OPS = "ops"  # an operator added it


HARD_BOUNCE_LIFETIME: Final = timedelta(days=7)
"""An address that bounced gets no mail for this long. A new employee may get the mailbox within days, while mail
providers distrust a sender who keeps writing to addresses that do not exist."""


class SuppressionListing(NamedTuple):
    """An entry of the suppression list: its reason, its start and its end (None: until it is removed)."""

    reason: SuppressionReason
    since: datetime
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        """Whether the address still gets no mail."""
        return self.until is None or self.until > now


def list_after_bounce(known: SuppressionListing | None, now: datetime) -> SuppressionListing:
    """Returns the entry of an address after a mail to it has bounced.

    An entry that still holds keeps its reason and lasts at least as long as one made now; a new one replaces one that
    is over.
    """
    until = now + HARD_BOUNCE_LIFETIME
    if known is None or not known.holds(now):
        return SuppressionListing(SuppressionReason.HARD_BOUNCE, now, until)
    return known if known.until is None else known._replace(until=max(known.until, until))


def list_after_complaint(known: SuppressionListing | None, now: datetime) -> SuppressionListing:
    """Returns the entry of an address after its owner called a mail spam; one that lasts as long keeps its reason."""
    if known is not None and known.holds(now) and known.until is None:
        return known
    return SuppressionListing(SuppressionReason.COMPLAINT, now, None)


def list_by_operator(known: SuppressionListing | None, now: datetime, lasts: timedelta | None) -> SuppressionListing:
    """Returns the entry of an address after an operator has added it; an entry that holds for longer stays.

    Parameters:
      known: the present entry, None if there is none.
      lasts: the time the new entry holds, None until it is removed.
    """
    if known is None or not known.holds(now):
        return SuppressionListing(SuppressionReason.OPS, now, None if lasts is None else now + lasts)
    if known.until is None or (lasts is not None and now + lasts <= known.until):
        return known
    return SuppressionListing(SuppressionReason.OPS, now, None if lasts is None else now + lasts)


class Suppression(Record, table=True):
    """An address that gets no mail."""

    __tablename__ = "suppression"

    email_norm: str = Field(primary_key=True)
    reason: str
    created_at: datetime = instant(default_now=True)
    until: datetime | None = instant(nullable=True)  # None: until it is removed
