"""A throttle limits how often a request may be made, counted in sliding windows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index
from sqlmodel import Field

from models.base import Record, instant


class Throttle(Record, table=True):
    """A request that counts against its subject, until it is older than every window.

    ``subject`` is an identifier, or the hash of an address: an address without an account is not kept in clear.
    """

    __tablename__ = "throttle"
    __table_args__ = (Index("ix_throttle_subject", "scope", "subject", "at"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    scope: str  # a word of ``ThrottleScope``
    subject: UUID
    times: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    at: datetime = instant(default_now=True)


class ThrottleScope(StrEnum):
    """A scope names the request that is counted, and the kind of subject it counts against."""

    RESET_ACCOUNT = "password_reset:account"
    RESET_ADDRESS = "password_reset:address"
    RESET_COMPANY = "password_reset:company"
    RESET_PORTAL = "password_reset:portal"
    REQUEST_ADDRESS = "password_reset_request:address"
    REQUEST_PORTAL = "password_reset_request:portal"
    INVITATION_ACCOUNT = "invitation:account"
    INVITATION_COMPANY = "invitation:company"
    INVITATION_PORTAL = "invitation:portal"
    CORRECTION_ENROLLMENT = "correction:enrollment"
    CORRECTION_ACCOUNT = "correction:account"
    CORRECTION_ADDRESS = "correction:address"
    CORRECTION_PORTAL = "correction:portal"
    NAME_ACCOUNT = "name_correction:account"
    NAME_PORTAL = "name_correction:portal"
    DRY_RUN_COMPANY = "dry_run:company"
    DRY_RUN_PORTAL = "dry_run:portal"
    VERIFICATION_ADDRESS = "verification:address"


class RateLimit(NamedTuple):
    """A request may be made so many times in a sliding window."""

    times: int
    window: timedelta


MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

_PERSON: Final = (RateLimit(3, HOUR), RateLimit(10, DAY))
_COMPANY: Final = (
    RateLimit(20_000, HOUR),
    RateLimit(60_000, DAY),
)  # twice the largest request, so that one can be repeated
_PORTAL: Final = (RateLimit(100_000, HOUR), RateLimit(500_000, DAY))

LIMITS: Final[dict[ThrottleScope, tuple[RateLimit, ...]]] = {
    ThrottleScope.RESET_ACCOUNT: _PERSON,
    ThrottleScope.RESET_ADDRESS: _PERSON,
    ThrottleScope.RESET_COMPANY: _COMPANY,
    ThrottleScope.RESET_PORTAL: _PORTAL,
    ThrottleScope.REQUEST_ADDRESS: _PERSON,
    ThrottleScope.REQUEST_PORTAL: (RateLimit(10_000, HOUR),),
    ThrottleScope.INVITATION_ACCOUNT: _PERSON,
    ThrottleScope.INVITATION_COMPANY: _COMPANY,
    ThrottleScope.INVITATION_PORTAL: _PORTAL,
    ThrottleScope.CORRECTION_ENROLLMENT: (RateLimit(3, 30 * DAY),),
    ThrottleScope.CORRECTION_ACCOUNT: (
        RateLimit(3, 30 * DAY),
    ),  # a person withdrawn and enrolled again is the same person
    ThrottleScope.CORRECTION_ADDRESS: _PERSON,
    ThrottleScope.CORRECTION_PORTAL: (RateLimit(10_000, HOUR),),
    ThrottleScope.NAME_ACCOUNT: (RateLimit(3, 30 * DAY),),
    ThrottleScope.NAME_PORTAL: (RateLimit(10_000, HOUR),),
    ThrottleScope.DRY_RUN_COMPANY: (RateLimit(200_000, DAY),),  # the largest request; by settings
    ThrottleScope.DRY_RUN_PORTAL: (RateLimit(500_000, DAY),),  # by settings
    ThrottleScope.VERIFICATION_ADDRESS: (RateLimit(30, MINUTE), RateLimit(300, HOUR)),
}
"""A person gets few mails, so that no mailbox is filled; a company or portal gets many, but a mistake is stopped."""

COUNTS_FOR: Final[dict[ThrottleScope, timedelta]] = {
    scope: max(limit.window for limit in limits) for scope, limits in LIMITS.items()
}
"""A request older than this no longer counts in its scope; each scope is read and purged by its own time."""

KEPT_LONGER: Final = tuple(scope for scope, kept in COUNTS_FOR.items() if kept > DAY)
"""Requests in these scopes count for longer than a day."""

Asked = tuple[datetime, int]
"""The moment of a request, and how many times it was made."""


class Allowance(NamedTuple):
    """The requests that a subject may still make at one moment (``measure_allowance`` makes it).

    Parameters:
      limits: the limits of its scope.
      asked: the requests that count against it, in the order of time.
      now: the moment.
      room: requests it may still make; below zero when a limit was lowered.
      taken: requests it has made at this moment.
    """

    limits: Sequence[RateLimit]
    asked: Sequence[Asked]
    now: datetime
    room: int
    taken: int = 0

    def after_one(self) -> "Allowance":
        """Returns the allowance after one more request."""
        return self.after(1)

    def after(self, times: int) -> "Allowance":
        """Returns the allowance after so many requests at once."""
        return Allowance(self.limits, self.asked, self.now, self.room - times, self.taken + times)

    def closed_until(self, times: int = 1) -> datetime | None:
        """Returns the moment when so many requests at once are accepted; None while they are accepted now.

        More than a limit allows are accepted when nothing else counts against it, because they would never be.
        """
        times = min(times, *(limit.times for limit in self.limits))
        if self.room >= times:
            return None
        asked = [*self.asked, (self.now, self.taken)] if self.taken else self.asked
        return max(_opens(asked, limit, self.now, times) for limit in self.limits)


def measure_allowance(limits: Sequence[RateLimit], asked: Sequence[Asked], now: datetime) -> Allowance:
    """Returns the allowance of a subject after the requests it has made so far, in the order of time."""
    room = min(limit.times - _counted(asked, limit, now) for limit in limits)
    return Allowance(limits, asked, now, room)


def _counted(asked: Sequence[Asked], limit: RateLimit, now: datetime) -> int:
    return sum(times for at, times in asked if at > now - limit.window)


def _opens(asked: Sequence[Asked], limit: RateLimit, now: datetime, more: int) -> datetime:
    """Returns the moment when the window has room for so many more requests; `now` if it has."""
    over, opens = _counted(asked, limit, now) - limit.times + more, now
    for at, times in asked:
        if over > 0 and at > now - limit.window:
            over, opens = over - times, at + limit.window
    return opens
