"""Who is sent a link again."""

from datetime import UTC, datetime, timedelta

import pytest

from models.resending import MOST_RESENT, Answer, Holder, answer_invitation, answer_reset
from models.throttle import HOUR, Allowance, Limit
from models.words import Code

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=50)
GONE = NOW - timedelta(days=3)
FULL = NOW + timedelta(minutes=40)


def allowance(*, full: bool = False) -> Allowance:
    return Allowance((Limit(1, HOUR),), [(NOW - timedelta(minutes=20), 1)] if full else [], NOW)


@pytest.mark.parametrize(
    ("holder", "full", "reset", "invitation"),
    [
        (None, False, Answer(Code.NOT_FOUND), Answer(Code.NOT_FOUND)),
        (Holder(None, activated=True), False, Answer(Code.SENT), Answer(Code.ALREADY_ACTIVATED)),
        (Holder(None, activated=False), False, Answer(Code.ACTIVATION_SENT_INSTEAD), Answer(Code.SENT)),
        (Holder(GONE, activated=True), False, *[Answer(Code.ALREADY_WITHDRAWN, GONE)] * 2),
        (Holder(GONE, activated=False), True, *[Answer(Code.ALREADY_WITHDRAWN, GONE)] * 2),
        (Holder(None, activated=True), True, Answer(Code.THROTTLED, FULL), Answer(Code.ALREADY_ACTIVATED)),
        (Holder(None, activated=False), True, *[Answer(Code.THROTTLED, FULL)] * 2),
        (Holder(None, False, MOST_RESENT - 1, LATER), False, Answer(Code.ACTIVATION_SENT_INSTEAD), Answer(Code.SENT)),
        (Holder(None, False, MOST_RESENT, LATER), False, *[Answer(Code.THROTTLED, LATER)] * 2),
        (Holder(None, False, MOST_RESENT, LATER), True, *[Answer(Code.THROTTLED, LATER)] * 2),  # the later of the two
        (Holder(None, False, MOST_RESENT, NOW), True, *[Answer(Code.THROTTLED, FULL)] * 2),
        (Holder(None, True, detached_at=GONE), False, *[Answer(Code.DETACHED, GONE)] * 2),
        (Holder(NOW, False, detached_at=GONE, suppressed=GONE), True, *[Answer(Code.DETACHED, GONE)] * 2),
        (Holder(GONE, True, suppressed=GONE), False, *[Answer(Code.ALREADY_WITHDRAWN, GONE)] * 2),
        (
            Holder(None, True, suppressed=GONE),
            False,
            Answer(Code.SUPPRESSED_ADDRESS, GONE),
            Answer(Code.ALREADY_ACTIVATED),
        ),
        (
            Holder(None, False, suppressed=GONE),
            True,
            *[Answer(Code.SUPPRESSED_ADDRESS, GONE)] * 2,
        ),  # whatever the throttle
        (Holder(None, True, MOST_RESENT, None), False, Answer(Code.SENT), Answer(Code.ALREADY_ACTIVATED)),
    ],
)
def test_answers(holder: Holder | None, full: bool, reset: Answer, invitation: Answer) -> None:
    for rule, expected in ((answer_reset, reset), (answer_invitation, invitation)):
        wide, own = allowance(), allowance(full=full)
        assert rule(holder, (wide, own)) == expected
        taken = int(expected.code in {Code.SENT, Code.ACTIVATION_SENT_INSTEAD})
        assert (wide.taken, own.taken) == (taken, taken)  # who is refused counts against nobody
