"""Links in mails: what one answers, and who is sent one again."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.throttle import Allowance
from models.words import Code, Purpose

LINK_LIFETIME: Final = {
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


MOST_RESENT: Final = 3
"""How often a live link is sent again, with more time each time. A further one only after it was used or has ended."""

MAILED: Final = frozenset({Code.SENT, Code.ACTIVATION_SENT_INSTEAD})
"""Codes of people who are sent a mail."""


class LinkHolder(NamedTuple):
    """Somebody a link may be sent to, as they stand.

    Parameters:
      withdrawn_at: when they left the contract the request speaks of, or None.
      activated: they have chosen a password.
      resent: times their live link was sent again; 0 without one.
      link_ends_at: when their live link ends, or None without one.
      detached_at: when they said that the enrollment was not theirs, or None.
      suppressed: since when no mail is sent to their address, or None.
    """

    withdrawn_at: datetime | None
    activated: bool
    resent: int = 0
    link_ends_at: datetime | None = None
    detached_at: datetime | None = None
    suppressed: datetime | None = None


class ResendVerdict(NamedTuple):
    """What happens to one person.

    `moment` is since when it is so (withdrawn, detached, no mail sent to them), or from when on it may be asked again.
    """

    code: Code
    moment: datetime | None = None


def answer_reset(holder: LinkHolder | None, allowances: Sequence[Allowance]) -> ResendVerdict:
    """Who never chose a password has none to reset, and is sent the invitation's link: no dead end."""
    sent = Code.SENT if holder is not None and holder.activated else Code.ACTIVATION_SENT_INSTEAD
    return _unfit(holder) or _unreachable(holder) or _too_often(holder, allowances) or _take(allowances, sent)


def answer_invitation(holder: LinkHolder | None, allowances: Sequence[Allowance]) -> ResendVerdict:
    """Who chose a password needs no invitation."""
    unfit = _unfit(holder)
    if unfit is None and holder is not None and holder.activated:
        return ResendVerdict(Code.ALREADY_ACTIVATED)
    return unfit or _unreachable(holder) or _too_often(holder, allowances) or _take(allowances, Code.SENT)


def _unfit(holder: LinkHolder | None) -> ResendVerdict | None:
    if holder is None:
        return ResendVerdict(Code.NOT_FOUND)
    if holder.detached_at is not None:
        return ResendVerdict(Code.DETACHED, holder.detached_at)
    return ResendVerdict(Code.ALREADY_WITHDRAWN, holder.withdrawn_at) if holder.withdrawn_at else None


def _unreachable(holder: LinkHolder | None) -> ResendVerdict | None:
    return (
        ResendVerdict(Code.SUPPRESSED_ADDRESS, holder.suppressed) if holder is not None and holder.suppressed else None
    )


def _too_often(holder: LinkHolder | None, allowances: Sequence[Allowance]) -> ResendVerdict | None:
    moments = [moment for allowance in allowances if (moment := allowance.closed_until()) is not None]
    if holder is not None and holder.resent >= MOST_RESENT and holder.link_ends_at is not None:
        moments.append(holder.link_ends_at)
    return ResendVerdict(Code.THROTTLED, max(moments)) if moments else None


def _take(allowances: Sequence[Allowance], code: Code) -> ResendVerdict:
    for allowance in allowances:
        allowance.take()
    return ResendVerdict(code)
