"""The circuit breaker between mailers and the relay: while the relay is at fault, no mail is sent to it.

*Closed*, mails are sent. *Open*, none is claimed or sent until a back-off is over. Then it is *half-open*: mails are
sent again, the first that is accepted closes it, and a fault opens it once more, for longer.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from models.delivery import OPENING, DeliveryOutcome, DeliveryVerdict, retry_delay

SUSPECTS_TO_OPEN: Final = 5
"""Recipients of one domain that open it as recipients of two domains do: the server of one domain may be at fault."""

BLAMED_TO_OPEN: Final = 10
"""Recipients of two domains or more that open it when each answer blames its recipient, as in a list of old addresses.
"""


class CircuitState(StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """A circuit breaker; every method leaves it as it is and returns the one that takes its place.

    Parameters:
      openings: how often it opened since a mail was last accepted; the back-off grows with it.
      open_until: the end of the back-off, in seconds of a monotonic clock.
      suspect: the outcome that answers about single recipients point to, since a mail was last accepted.
      recipients: the recipients that got these answers.
    """

    openings: int = 0
    open_until: float = 0.0
    suspect: DeliveryOutcome | None = None
    recipients: frozenset[str] = frozenset()

    def state(self, now: float) -> CircuitState:
        if now < self.open_until:
            return CircuitState.OPEN
        return CircuitState.HALF_OPEN if self.openings else CircuitState.CLOSED

    @property
    def doubts(self) -> bool:
        """Whether several recipients were refused since a mail was last accepted: the fault may be the relay's."""
        return self.suspect is DeliveryOutcome.CONFIGURATION and self._several()

    def _several(self) -> bool:
        return self._domains() > 1 or len(self.recipients) >= SUSPECTS_TO_OPEN

    def _domains(self) -> int:
        return len({address.rpartition("@")[2] for address in self.recipients})

    def seconds_left(self, now: float) -> float:
        """The seconds until mails may be sent again."""
        return max(0.0, self.open_until - now)

    def accepted(self) -> "CircuitBreaker":
        """The relay accepted a mail: the circuit is closed. A back-off that has begun meanwhile is still waited for."""
        return CircuitBreaker(open_until=self.open_until)

    def failed(self, verdict: DeliveryVerdict, recipient: str, now: float, jitter: float) -> "CircuitBreaker":
        """An attempt failed: the circuit opens when the fault is not one mail's.

        Answers about single recipients open it when recipients of two domains, or five of one, got the same kind of
        answer and this one had not before: the same mails coming back prove nothing new. Answers that blame the
        recipient open it later. Then the back-off is our own: the delay named in such an answer may be a stranger's.

        Parameters:
          jitter: a random number in [0, 1), as for ``retry_delay``.
        """
        if verdict.outcome in OPENING:
            return self.opened(verdict, now, jitter)
        if verdict.suspect is None:
            return self
        before = self.recipients if self.suspect is verdict.suspect else frozenset()
        suspecting = replace(self, suspect=verdict.suspect, recipients=before | {recipient})
        if recipient in before or not suspecting.proves(verdict):
            return suspecting
        return suspecting.opened(DeliveryVerdict(verdict.suspect, verdict.reason), now, jitter)

    def proves(self, verdict: DeliveryVerdict) -> bool:
        """Tells whether enough recipients got such an answer to stop all mails."""
        if verdict.outcome is DeliveryOutcome.FAILED:
            return self._domains() > 1 and len(self.recipients) >= BLAMED_TO_OPEN
        return self._several()

    def opened(self, verdict: DeliveryVerdict, now: float, jitter: float) -> "CircuitBreaker":
        """The circuit opens for the next back-off. It stays as it is while open: faults met together count once."""
        if self.state(now) is CircuitState.OPEN:
            return self
        openings = self.openings + 1
        return replace(
            self,
            openings=openings,
            open_until=now + retry_delay(verdict.outcome, openings, jitter, verdict.hint),
        )
