"""Who is sent a link again."""

from datetime import UTC, datetime, timedelta

import pytest

from models.resending import MOST_RESENT, LinkHolder, ResendVerdict, answer_invitation, answer_reset
from models.throttle import HOUR, Allowance, RateLimit
from models.words import Code

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=50)
GONE = NOW - timedelta(days=3)
FULL = NOW + timedelta(minutes=40)


def allowance(*, full: bool = False) -> Allowance:
    return Allowance((RateLimit(1, HOUR),), [(NOW - timedelta(minutes=20), 1)] if full else [], NOW)


@pytest.mark.parametrize(
    ("holder", "full", "reset", "invitation"),
    [
        (None, False, ResendVerdict(Code.NOT_FOUND), ResendVerdict(Code.NOT_FOUND)),
        (LinkHolder(None, activated=True), False, ResendVerdict(Code.SENT), ResendVerdict(Code.ALREADY_ACTIVATED)),
        (
            LinkHolder(None, activated=False),
            False,
            ResendVerdict(Code.ACTIVATION_SENT_INSTEAD),
            ResendVerdict(Code.SENT),
        ),
        (LinkHolder(GONE, activated=True), False, *[ResendVerdict(Code.ALREADY_WITHDRAWN, GONE)] * 2),
        (LinkHolder(GONE, activated=False), True, *[ResendVerdict(Code.ALREADY_WITHDRAWN, GONE)] * 2),
        (
            LinkHolder(None, activated=True),
            True,
            ResendVerdict(Code.THROTTLED, FULL),
            ResendVerdict(Code.ALREADY_ACTIVATED),
        ),
        (LinkHolder(None, activated=False), True, *[ResendVerdict(Code.THROTTLED, FULL)] * 2),
        (
            LinkHolder(None, False, MOST_RESENT - 1, LATER),
            False,
            ResendVerdict(Code.ACTIVATION_SENT_INSTEAD),
            ResendVerdict(Code.SENT),
        ),
        (LinkHolder(None, False, MOST_RESENT, LATER), False, *[ResendVerdict(Code.THROTTLED, LATER)] * 2),
        (
            LinkHolder(None, False, MOST_RESENT, LATER),
            True,
            *[ResendVerdict(Code.THROTTLED, LATER)] * 2,
        ),  # the later of the two
        (LinkHolder(None, False, MOST_RESENT, NOW), True, *[ResendVerdict(Code.THROTTLED, FULL)] * 2),
        (LinkHolder(None, True, detached_at=GONE), False, *[ResendVerdict(Code.DETACHED, GONE)] * 2),
        (LinkHolder(NOW, False, detached_at=GONE, suppressed=GONE), True, *[ResendVerdict(Code.DETACHED, GONE)] * 2),
        (LinkHolder(GONE, True, suppressed=GONE), False, *[ResendVerdict(Code.ALREADY_WITHDRAWN, GONE)] * 2),
        (
            LinkHolder(None, True, suppressed=GONE),
            False,
            ResendVerdict(Code.SUPPRESSED_ADDRESS, GONE),
            ResendVerdict(Code.ALREADY_ACTIVATED),
        ),
        (
            LinkHolder(None, False, suppressed=GONE),
            True,
            *[ResendVerdict(Code.SUPPRESSED_ADDRESS, GONE)] * 2,
        ),  # whatever the throttle
        (
            LinkHolder(None, True, MOST_RESENT, None),
            False,
            ResendVerdict(Code.SENT),
            ResendVerdict(Code.ALREADY_ACTIVATED),
        ),
    ],
)
def test_answers(holder: LinkHolder | None, full: bool, reset: ResendVerdict, invitation: ResendVerdict) -> None:
    for rule, expected in ((answer_reset, reset), (answer_invitation, invitation)):
        wide, own = allowance(), allowance(full=full)
        assert rule(holder, (wide, own)) == expected
        taken = int(expected.code in {Code.SENT, Code.ACTIVATION_SENT_INSTEAD})
        assert (wide.taken, own.taken) == (taken, taken)  # who is refused counts against nobody
