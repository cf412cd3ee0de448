"""A link in a mail lets a person act without signing in; these rules say when it works and when it is sent again."""

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
    Purpose.NAME_CONFIRMATION: timedelta(days=14),
}

PASSWORD_PURPOSES: Final = (Purpose.ACTIVATION, Purpose.PASSWORD_RESET)
"""Links to the choice of a password: an account has one live link per purpose. Other links have one per subject."""

LEAST_LEFT: Final = timedelta(days=7)
"""A link works for at least this long when its mail is owed: the mail may be five days late, and people need time."""


class Link(Record, table=True):
    """A link that a person was sent. Its token is derived (``workers/security/tokens.py``): no secret is stored.

    ``subject_id`` names the correction (of an address or a name) or the enrollment ("not me") that the link is about.
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
    resent: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # times it was sent again
    consumed_at: datetime | None = instant(nullable=True)
    voided_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


def link_refused(
    *, consumed_at: datetime | None, voided_at: datetime | None, expires_at: datetime, now: datetime
) -> Code | None:
    """Returns the code that says why a link does not work, or None while it does."""
    if consumed_at is not None:
        return Code.USED_LINK
    if voided_at is not None:
        return Code.INVALID_LINK
    return Code.EXPIRED_LINK if expires_at <= now else None


MOST_RESENT: Final = 3
"""A live link is sent again this often, with more time each time; the next one waits until it is used or expired."""

MAILED: Final = frozenset({Code.SENT, Code.ACTIVATION_SENT_INSTEAD})
"""A person with one of these codes is sent a mail."""


class LinkHolder(NamedTuple):
    """The facts of a person to whom a link may be sent.

    Parameters:
      withdrawn_at: when the person was withdrawn from the contract of the request, or None.
      activated: the person has chosen a password.
      resent: times their live link was sent again; 0 without one.
      link_ends_at: when their live link expires, or None without one.
      detached_at: when the person said "this is not me", or None.
      suppressed: since when their address is on the suppression list, or None.
    """

    withdrawn_at: datetime | None
    activated: bool
    resent: int = 0
    link_ends_at: datetime | None = None
    detached_at: datetime | None = None
    suppressed: datetime | None = None


class ResendVerdict(NamedTuple):
    """The decision about one person.

    `moment` is the start of what the code says (withdrawn, detached, suppressed), or the end of a rate limit.
    """

    code: Code
    moment: datetime | None = None


class ThrottledVerdict(NamedTuple):
    """A verdict, and the allowances after it: a refused request leaves them as they were."""

    verdict: ResendVerdict
    allowances: Sequence[Allowance]


def count_verdict(verdict: ResendVerdict, allowances: Sequence[Allowance]) -> ThrottledVerdict:
    """Returns the verdict with allowances that count it."""
    return ThrottledVerdict(verdict, [allowance.after_one() for allowance in allowances])


def answer_reset(holder: LinkHolder | None, allowances: Sequence[Allowance]) -> ThrottledVerdict:
    """Answers a request for a password reset; a person without a password is sent the activation link instead."""
    refusal = _unfit(holder) or _unreachable(holder) or _too_often(holder, allowances)
    if refusal is not None:
        return ThrottledVerdict(refusal, allowances)
    sent = Code.SENT if holder is not None and holder.activated else Code.ACTIVATION_SENT_INSTEAD
    return count_verdict(ResendVerdict(sent), allowances)


def answer_invitation(holder: LinkHolder | None, allowances: Sequence[Allowance]) -> ThrottledVerdict:
    """Answers a request for the invitation again; a person who has a password needs none."""
    refusal = _unfit(holder)
    if refusal is None and holder is not None and holder.activated:
        refusal = ResendVerdict(Code.ALREADY_ACTIVATED)
    refusal = refusal or _unreachable(holder) or _too_often(holder, allowances)
    if refusal is not None:
        return ThrottledVerdict(refusal, allowances)
    return count_verdict(ResendVerdict(Code.SENT), allowances)


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
