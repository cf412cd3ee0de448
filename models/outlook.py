"""Judges how a queue will go on at the rate of the last minutes: it clears, keeps up, stands still or grows."""

from enum import StrEnum
from typing import Final, NamedTuple

RATE_MINUTES: Final = 15
"""The minutes by which the rate of a queue is taken."""


class OutlookCode(StrEnum):
    """The outlook of a queue."""

    EMPTY = "empty"  # nothing is due
    KEEPS_UP = "keeps_up"  # what is due is done within a minute, or is not late yet
    CLEARS = "clears"  # more is done than comes
    GROWS = "grows"  # as much or more comes than is done, and the oldest is late
    STALLED = "stalled"  # nothing is done, and the oldest is late
    PAUSED = "paused"
    UNSERVED = "unserved"  # no process serves it
    RELAY_RESTS = "relay_rests"  # the mailers leave the relay alone

    @property
    def needs_person(self) -> bool:
        """Tells whether a person has to look at it now."""
        return self in (OutlookCode.STALLED, OutlookCode.UNSERVED, OutlookCode.RELAY_RESTS)


class QueueFacts(NamedTuple):
    """The facts about a queue by which its outlook is judged.

    Parameters:
      waiting: jobs or mails that are due.
      oldest_seconds: for how long the oldest has been due; None when none counts as late, as in a held lane.
      late_after: the seconds from which on it is late.
      arrived, ended: in the last ``RATE_MINUTES``.
    """

    waiting: int
    oldest_seconds: float | None
    late_after: float
    arrived: int
    ended: int
    paused: bool = False
    served: bool = True
    relay_rests: bool = False


class Outlook(NamedTuple):
    """The outlook of a queue; `seconds` until it has cleared, where it clears."""

    code: OutlookCode
    seconds: float | None = None


def judge_outlook(facts: QueueFacts) -> Outlook:
    """Judges a queue.

    It clears at the rate at which it shrinks, out minus in: the rate out alone promises too much.
    """
    if facts.paused:
        return Outlook(OutlookCode.PAUSED)
    if not facts.waiting:
        return Outlook(OutlookCode.EMPTY)
    if not facts.served:
        return Outlook(OutlookCode.UNSERVED)
    if facts.relay_rests:
        return Outlook(OutlookCode.RELAY_RESTS)
    return _by_rate(facts)


def _by_rate(facts: QueueFacts) -> Outlook:
    late = facts.oldest_seconds is not None and facts.oldest_seconds > facts.late_after
    if not late and facts.waiting * RATE_MINUTES <= facts.ended:
        return Outlook(OutlookCode.KEEPS_UP)
    shrinks = facts.ended - facts.arrived
    if shrinks > 0:
        return Outlook(OutlookCode.CLEARS, 60.0 * RATE_MINUTES * facts.waiting / shrinks)
    if not late:
        return Outlook(OutlookCode.KEEPS_UP)
    return Outlook(OutlookCode.GROWS if facts.ended else OutlookCode.STALLED)
