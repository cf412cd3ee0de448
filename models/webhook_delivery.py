"""The rules of sending webhooks: what an answer means, when the next try is, when an endpoint rests or is disabled.

The schedule is that of Standard Webhooks 1.0.0. All times are seconds.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from models.words import WebhookState

DAY: Final = 86_400.0

TRIES: Final = (0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, DAY)
"""The time of each try, counted from the first; after the last a webhook is given up."""

JITTER: Final = 0.1
"""The part of a pause by which it is made longer or shorter, so that a thousand webhooks do not come back at once."""

SHORTEST_PAUSE: Final = 1.0
LONGEST_RETRY_AFTER: Final = 3_600.0
"""The longest pause that an answer may ask for: a receiver must not stop its webhooks for a week by one header."""

FAILURES_TO_REST: Final = 5
"""Failures in a row after which an endpoint rests: it gets one try at a time, and a pause after each."""

SHORTEST_REST, LONGEST_REST = 30.0, 600.0

FAILURES_TO_TELL: Final = 3
"""Failures after which the people of the portal are told, once a day."""

TELL_AFTER: Final = 240.0
"""Seconds of failures, and of nothing else, before they are told: a receiver that restarts is no news."""

DISABLE_AFTER: Final = DAY - 300.0
"""Seconds of failures, and of nothing else, after which an endpoint is disabled.

It is a little less than a day, so that the last try of the first webhook that failed is in time to find it.
"""


class DisabledReason(StrEnum):
    """The reason why an endpoint is disabled."""

    FAILING = "failing"  # nothing arrived for a day
    GONE = "gone"  # it answered 410
    ASKED = "asked"  # its portal or an operator disabled it


class WebhookAnswer(NamedTuple):
    """How one try ended.

    Parameters:
      status: the status of the answer, or None when there was none.
      error: a word and a few more for the reason why there was none.
      retry_after: the seconds that an answer of 429 or 503 asks to wait.
    """

    status: int | None
    error: str | None = None
    retry_after: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver took the webhook: a redirection is no success, because it is not followed."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver says that it wants no webhooks any more."""
        return self.status == 410

    @property
    def pause(self) -> float | None:
        """The bounded pause that the receiver asks for."""
        if self.status not in (429, 503) or self.retry_after is None:
            return None
        return min(max(self.retry_after, SHORTEST_PAUSE), LONGEST_RETRY_AFTER)


class NextStep(NamedTuple):
    """The state of a webhook after a try, and the seconds until it is tried again."""

    state: WebhookState
    seconds: float | None = None


def next_step(answer: WebhookAnswer, failures: int, tried_for: float, jitter: float) -> NextStep:
    """Decides what becomes of a webhook after a try.

    Parameters:
      failures: its failed tries before this one.
      tried_for: the seconds since its first try.
      jitter: a random number in [0, 1).
    """
    if answer.accepted:
        return NextStep(WebhookState.DELIVERED)
    left = DAY - tried_for
    if left <= 0:
        return NextStep(WebhookState.FAILED)
    place = min(failures, len(TRIES) - 2)
    planned = (TRIES[place + 1] - TRIES[place]) * (1 - JITTER + 2 * JITTER * jitter)
    return NextStep(WebhookState.OWED, max(SHORTEST_PAUSE, min(answer.pause or planned, left)))


class EndpointHealth(NamedTuple):
    """How an endpoint does.

    Parameters:
      failures: its failed tries since the last that was accepted.
      failing_for: the seconds since the first of these; None when there is none.
      rest: the seconds that it is left alone from now on.
      disabled: the reason why it is disabled.
    """

    failures: int = 0
    failing_for: float | None = None
    rest: float | None = None
    disabled: DisabledReason | None = None

    @property
    def rests(self) -> bool:
        """Whether it gets one try at a time."""
        return self.failures >= FAILURES_TO_REST

    @property
    def is_news(self) -> bool:
        """Whether the people of the portal are told that it fails."""
        return self.failures >= FAILURES_TO_TELL and (self.failing_for or 0.0) >= TELL_AFTER

    def after(self, answer: WebhookAnswer) -> "EndpointHealth":
        """Returns how the endpoint does after one more try."""
        if answer.accepted:
            return EndpointHealth()
        failures, failing_for = self.failures + 1, self.failing_for or 0.0
        disabled = DisabledReason.GONE if answer.gone else None
        if failing_for >= DISABLE_AFTER:
            disabled = disabled or DisabledReason.FAILING
        return EndpointHealth(failures, failing_for, answer.pause or rest_of(failures), self.disabled or disabled)


def rest_of(failures: int) -> float | None:
    """Returns the seconds that an endpoint is left alone after so many failures in a row; None: it is not."""
    if failures < FAILURES_TO_REST:
        return None
    return min(LONGEST_REST, SHORTEST_REST * 2.0 ** min(failures - FAILURES_TO_REST, 10))
