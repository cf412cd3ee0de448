"""The circuit breaker: what opens it, how long it stays open, and what closes it."""

import pytest

from models.circuit_breaker import BLAMED_TO_OPEN, SUSPECTS_TO_OPEN, CircuitBreaker, CircuitState
from models.delivery import DeliveryOutcome, DeliveryReason, DeliveryVerdict

NOW = 1_000.0
DOWN = DeliveryVerdict(DeliveryOutcome.RELAY_DOWN, DeliveryReason.CONNECTION_LOST)
MISCONFIGURED = DeliveryVerdict(DeliveryOutcome.CONFIGURATION, DeliveryReason.AUTH_REFUSED)
THROTTLED = DeliveryVerdict(DeliveryOutcome.RELAY_DOWN, DeliveryReason.THROTTLED, hint=45)
BUSY = DeliveryVerdict(DeliveryOutcome.RETRY, DeliveryReason.RELAY_BUSY, suspect=DeliveryOutcome.RELAY_DOWN)
LOST = DeliveryVerdict(DeliveryOutcome.RETRY, DeliveryReason.CONNECTION_LOST, suspect=DeliveryOutcome.RELAY_DOWN)
DENIED = DeliveryVerdict(DeliveryOutcome.RETRY, DeliveryReason.RELAYING_DENIED, suspect=DeliveryOutcome.CONFIGURATION)
GREY = DeliveryVerdict(DeliveryOutcome.RETRY, DeliveryReason.DEFERRED)
GONE = DeliveryVerdict(DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED)


@pytest.mark.parametrize(
    ("verdict", "seconds"), [(DOWN, 10), (MISCONFIGURED, 300), (THROTTLED, 45), (GREY, 0), (GONE, 0), (BUSY, 0)]
)
def test_a_fault_that_is_not_one_mails_opens_it_at_once(verdict: DeliveryVerdict, seconds: float) -> None:
    breaker = CircuitBreaker().failed(verdict, "a@x", NOW, 0.0)
    assert breaker.state(NOW) is (CircuitState.OPEN if seconds else CircuitState.CLOSED)
    assert breaker.seconds_left(NOW) == seconds


def test_after_its_back_off_it_is_half_open_and_opens_for_longer() -> None:
    breaker, now, waited = CircuitBreaker(), NOW, []
    for _ in range(5):
        breaker = breaker.failed(DOWN, "a@x", now, 0.0)
        waited.append(breaker.seconds_left(now))
        now = breaker.open_until
        assert breaker.state(now) is CircuitState.HALF_OPEN
    assert waited == [10, 30, 120, 300, 300]


def test_a_mail_that_is_accepted_closes_it() -> None:
    breaker = CircuitBreaker().failed(DOWN, "a@x", NOW, 0.0).failed(BUSY, "a@x", NOW, 0.0)
    closed = breaker.accepted()
    assert closed.state(breaker.open_until) is CircuitState.CLOSED
    assert closed.failed(DOWN, "a@x", breaker.open_until, 0.0).seconds_left(breaker.open_until) == 10
    assert closed.recipients == frozenset()


def test_a_mail_accepted_while_it_is_open_does_not_end_the_back_off() -> None:
    breaker = CircuitBreaker().failed(DOWN, "a@x", NOW, 0.0).accepted()
    assert breaker.state(NOW + 9) is CircuitState.OPEN
    assert breaker.state(NOW + 10) is CircuitState.CLOSED


def test_faults_met_together_count_once() -> None:
    once = CircuitBreaker().failed(DOWN, "a@x", NOW, 0.0)
    assert once.failed(MISCONFIGURED, "b@y", NOW + 9, 0.0) == once


def test_jitter_adds_up_to_a_fifth() -> None:
    assert CircuitBreaker().failed(DOWN, "a@x", NOW, 0.5).seconds_left(NOW) == 11


@pytest.mark.parametrize(
    ("answers", "opens"),
    [
        ([("a@x", BUSY)], [False]),
        ([("a@x", BUSY), ("a@x", BUSY), ("a@x", LOST)], [False, False, False]),
        ([("a@x", BUSY), ("a@y", BUSY)], [False, True]),
        ([("a@x", BUSY), ("a@y", LOST), ("a@z", BUSY)], [False, True, True]),
        ([("a@x", BUSY), ("a@y", LOST), ("a@x", BUSY), ("a@y", BUSY)], [False, True, False, False]),
        ([("a@x", BUSY), ("a@y", DENIED), ("b@x", BUSY)], [False, False, False]),
        ([("a@x", DENIED), ("a@y", DENIED)], [False, True]),
        ([("a@x", BUSY), ("a@y", GREY), ("a@z", GREY)], [False, False, False]),
        ([("a@x", BUSY), ("a@y", GREY), ("a@z", BUSY)], [False, False, True]),
        ([(f"{n}@x", BUSY) for n in range(SUSPECTS_TO_OPEN + 1)], [False] * (SUSPECTS_TO_OPEN - 1) + [True, True]),
    ],
)
def test_answers_about_several_recipients_open_it(
    answers: list[tuple[str, DeliveryVerdict]], opens: list[bool]
) -> None:
    breaker, now, found = CircuitBreaker(), NOW, []
    for recipient, verdict in answers:
        now = max(now, breaker.open_until)
        breaker = breaker.failed(verdict, recipient, now, 0.0)
        found.append(breaker.state(now) is CircuitState.OPEN)
    assert found == opens


@pytest.mark.parametrize(("domains", "opens"), [(1, False), (2, True)])
def test_ten_recipients_blamed_in_a_row_of_two_domains_open_it(domains: int, opens: bool) -> None:
    blaming = DeliveryVerdict(
        DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED, suspect=DeliveryOutcome.CONFIGURATION
    )
    breaker, doubts = CircuitBreaker(), []
    for number in range(BLAMED_TO_OPEN):
        assert breaker.state(NOW) is CircuitState.CLOSED
        breaker = breaker.failed(blaming, f"p{number}@d{number % domains}", NOW, 0.0)
        doubts.append(breaker.doubts)
    assert (breaker.state(NOW) is CircuitState.OPEN) == opens
    assert doubts.index(True) == (SUSPECTS_TO_OPEN - 1 if domains == 1 else 1)
    assert not breaker.accepted().doubts


def test_then_the_delay_named_in_an_answer_is_not_believed() -> None:
    hinted = DeliveryVerdict(DeliveryOutcome.RETRY, DeliveryReason.RELAY_BUSY, 600, DeliveryOutcome.RELAY_DOWN)
    breaker = CircuitBreaker().failed(hinted, "a@x", NOW, 0.0).failed(hinted, "a@y", NOW, 0.0)
    assert breaker.seconds_left(NOW) == 10
