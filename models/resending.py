"""Who is sent a link again: the one rule behind resets and invitations asked for by a manager or by the person."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from models.throttle import Allowance
from models.words import Code

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
