"""The number of connections that a relay takes from one mailer process, found by trying.

Relays limit the connections of one client: Postfix to 50, others to 3 or 10. One too many is refused at once, or with
its first mail. That is no fault of the mail, and none of the relay as long as it serves other connections.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from models.delivery import BEFORE_MAIL, BEFORE_RCPT, AttemptFault, FaultKind

FIRST_PAUSE: Final = 30.0
LONGEST_PAUSE: Final = 600.0
"""Seconds before one connection more is tried; the pause doubles each time it is refused."""

MICROSOFT_SAYS: Final = 432
"""Microsoft 365 takes mails over three connections at a time: "432 4.3.2 Concurrent connections limit exceeded". The
code has no other use; it comes at the end of a mail, too."""

# "421 4.7.0 Error: too many connections from", "421 4.3.2 … maximum number of concurrent connections".
TOO_MANY: Final = re.compile(
    r"(?:too many|maximum number of|trop de) (?:(?!per\b)\w+ ){0,2}(?:connections?|connexions?|sessions?|threads?)\b"
    r"|\b(?:connections?|sessions?|threads?) (?:count |rate )?(?:limit|exceed)",
    re.IGNORECASE,
)


def refuses_connection(fault: AttemptFault) -> bool:
    """Tells whether a fault may mean that the relay takes no further connection; its other connections tell.

    The mail was certainly not accepted, so it can be sent over another connection at once. Words about connections
    count only until the recipient is named: later they may be those of the recipient's server, which the relay quotes.
    """
    if fault.trouble in (FaultKind.LOST, FaultKind.TIMEOUT):
        return fault.phase in BEFORE_MAIL
    if fault.trouble is not FaultKind.REPLY or fault.code is None or not 400 <= fault.code <= 599:
        return False
    if fault.code == MICROSOFT_SAYS or (fault.phase in BEFORE_MAIL and fault.code < 500):
        return True
    return fault.phase in BEFORE_RCPT and TOO_MANY.search(fault.text) is not None


@dataclass(frozen=True, slots=True)
class ConnectionLimit:
    """The connections that this process may open; every method leaves it as it is and returns its successor.

    Parameters:
      most: the number in the settings.
      allowed: the number that the relay is believed to take.
      pause: the seconds until one more is tried.
      more_at: the time for that, in seconds of a monotonic clock.
      trying: one more was allowed since the last refusal.
    """

    most: int
    allowed: int
    pause: float = 0.0
    more_at: float = 0.0
    trying: bool = False

    @classmethod
    def of(cls, most: int) -> "ConnectionLimit":
        """Returns the limit of a process that was refused no connection so far."""
        return cls(most, most)

    def refused(self, others: int, now: float) -> "ConnectionLimit":
        """A connection was refused while the relay served others: they are enough, and one fewer is used.

        Another process of ours then finds a place: a mailer that holds all that the relay takes would keep the mails of
        the other waiting for as long as it has any.

        Parameters:
          others: the other connections that are in use, or were a moment ago.
        """
        pause = self.pause
        if self.trying or not pause:  # those refused together count once
            pause = min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)
        return ConnectionLimit(self.most, max(1, min(others, self.most) - 1), pause, now + pause)

    def tried_again(self, now: float) -> "ConnectionLimit":
        """Allows one connection more when the time for it has come."""
        if self.allowed >= self.most or now < self.more_at:
            return self
        grown = self.allowed + 1
        if grown == self.most:
            return ConnectionLimit.of(self.most)
        return replace(self, allowed=grown, more_at=now + self.pause, trying=True)
