"""An answer means this to a webhook and to its endpoint: tables."""

import pytest

from models.webhook_delivery import DAY, TRIES, DisabledReason, EndpointHealth, WebhookAnswer, next_step, rest_of
from models.words import WebhookState

OK, FAILED, GONE, NONE = WebhookAnswer(204), WebhookAnswer(500), WebhookAnswer(410), WebhookAnswer(None, "timeout")
MIDDLE = 0.5
"""The jitter that changes nothing."""


def test_the_tries_of_a_webhook_follow_the_schedule() -> None:
    tried_for, moments = 0.0, [0.0]
    for failures in range(20):
        step = next_step(FAILED, failures, tried_for, MIDDLE)
        if step.seconds is None:
            break
        tried_for += step.seconds
        moments.append(tried_for)
    assert moments == list(TRIES)
    assert next_step(FAILED, 10, DAY, MIDDLE).state is WebhookState.FAILED


@pytest.mark.parametrize(
    ("answer", "failures", "tried_for", "state", "seconds"),
    [
        (OK, 0, 0, WebhookState.DELIVERED, None),
        (OK, 9, DAY, WebhookState.DELIVERED, None),
        (WebhookAnswer(302), 0, 0, WebhookState.OWED, 5),
        (NONE, 1, 5, WebhookState.OWED, 295),
        (FAILED, 30, 3_600, WebhookState.OWED, 14_400),  # more failures than tries: pauses that answers asked for
        (FAILED, 2, DAY - 60, WebhookState.OWED, 60),
        (FAILED, 1, DAY, WebhookState.FAILED, None),
        (WebhookAnswer(429, retry_after=90), 0, 0, WebhookState.OWED, 90),
        (WebhookAnswer(503, retry_after=1e9), 0, 0, WebhookState.OWED, 3_600),
        (WebhookAnswer(503, retry_after=-5), 0, 0, WebhookState.OWED, 1),
        (WebhookAnswer(500, retry_after=90), 0, 0, WebhookState.OWED, 5),
    ],
)
def test_an_answer_decides_what_becomes_of_a_webhook(
    answer: WebhookAnswer, failures: int, tried_for: float, state: WebhookState, seconds: float | None
) -> None:
    assert next_step(answer, failures, tried_for, MIDDLE) == (state, seconds)


def test_jitter_changes_a_pause_by_a_tenth() -> None:
    seconds = [next_step(FAILED, 2, 300, jitter).seconds for jitter in (0.0, 0.999)]
    assert seconds == pytest.approx([1_350, 1_650], rel=0.01)


@pytest.mark.parametrize(
    ("before", "answers", "after"),
    [
        (EndpointHealth(), [OK], EndpointHealth()),
        (EndpointHealth(), [FAILED], EndpointHealth(1, 0.0)),
        (EndpointHealth(9, 500.0), [OK], EndpointHealth()),
        (EndpointHealth(9, 500.0), [OK, FAILED], EndpointHealth(1, 0.0)),  # it fails since then, and not since before
        (EndpointHealth(3, 40.0), [FAILED], EndpointHealth(4, 40.0)),
        (EndpointHealth(4, 40.0), [NONE], EndpointHealth(5, 40.0, 30.0)),
        (EndpointHealth(20, 4_000.0), [FAILED], EndpointHealth(21, 4_000.0, 600.0)),
        (EndpointHealth(), [GONE], EndpointHealth(1, 0.0, None, DisabledReason.GONE)),
        (EndpointHealth(), [WebhookAnswer(429, retry_after=7)], EndpointHealth(1, 0.0, 7.0)),
        (EndpointHealth(30, DAY - 301), [FAILED], EndpointHealth(31, DAY - 301, 600.0)),
        (EndpointHealth(30, DAY - 300), [FAILED], EndpointHealth(31, DAY - 300, 600.0, DisabledReason.FAILING)),
    ],
)
def test_answers_decide_how_an_endpoint_does(
    before: EndpointHealth, answers: list[WebhookAnswer], after: EndpointHealth
) -> None:
    for answer in answers:
        before = before.after(answer)
    assert before == after


def test_an_endpoint_rests_longer_the_longer_it_fails() -> None:
    assert [rest_of(failures) for failures in (4, 5, 6, 7, 8, 9, 10, 1_000)] == [None, 30, 60, 120, 240, 480, 600, 600]


@pytest.mark.parametrize(
    ("failures", "failing_for", "told"), [(3, 240, True), (2, 900, False), (50, 239, False), (0, None, False)]
)
def test_people_are_told_of_the_third_failure_and_not_of_a_restart(
    failures: int, failing_for: float | None, told: bool
) -> None:
    assert EndpointHealth(failures, failing_for).is_news is told
