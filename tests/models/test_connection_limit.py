"""Which faults mean that a relay takes no further connection, and how many connections are used then."""

import pytest

from models.connection_limit import FIRST_PAUSE, LONGEST_PAUSE, ConnectionLimit, refuses_connection
from models.delivery import AttemptFault, FaultKind, SmtpPhase

POSTFIX = "4.7.0 relay.example Error: too many connections from 192.0.2.7"


@pytest.mark.parametrize(
    ("fault", "refuses"),
    [
        (AttemptFault(SmtpPhase.CONNECT, 421, "4.7.0", POSTFIX), True),
        (AttemptFault(SmtpPhase.CONNECT, 421, "4.3.2", "Service not available"), True),
        (AttemptFault(SmtpPhase.CONNECT, trouble=FaultKind.LOST), True),
        (AttemptFault(SmtpPhase.CONNECT, trouble=FaultKind.TIMEOUT), True),
        (AttemptFault(SmtpPhase.CONNECT, 554, "5.7.1", "Client host rejected: Access denied"), False),
        (AttemptFault(SmtpPhase.CONNECT, 554, None, "trop de connexions simultanées"), True),
        (AttemptFault(SmtpPhase.HELLO, trouble=FaultKind.LOST), True),
        (AttemptFault(SmtpPhase.TLS, trouble=FaultKind.TLS), False),
        (AttemptFault(SmtpPhase.TLS, trouble=FaultKind.UNSUPPORTED), False),
        (AttemptFault(SmtpPhase.AUTH, 454, "4.7.0", "Temporary authentication failure"), True),
        (AttemptFault(SmtpPhase.AUTH, 535, "5.7.8", "Authentication failed"), False),
        (AttemptFault(SmtpPhase.MAIL, 421, "4.3.2", "The maximum number of concurrent connections was exceeded"), True),
        (AttemptFault(SmtpPhase.MAIL, 452, "4.4.5", "Concurrent session limit exceeded"), True),
        (AttemptFault(SmtpPhase.MAIL, 421, "4.3.2", "closing"), False),
        (AttemptFault(SmtpPhase.MAIL, 450, "4.7.1", "Too many messages per connection"), False),
        (AttemptFault(SmtpPhase.MAIL, trouble=FaultKind.LOST), False),
        (AttemptFault(SmtpPhase.RCPT, 450, "4.1.1", "unverified: its server said: 421 too many connections"), False),
        (AttemptFault(SmtpPhase.RCPT, trouble=FaultKind.LOST), False),
        (AttemptFault(SmtpPhase.BODY, 432, "4.3.2", "Concurrent connections limit exceeded"), True),
        (AttemptFault(SmtpPhase.BODY, 432, "4.3.2", "STOREDRV.ClientSubmit; sender thread limit exceeded"), True),
        (AttemptFault(SmtpPhase.BODY, 452, "4.3.1", "too many connections to the store"), False),
        (AttemptFault(SmtpPhase.BODY, trouble=FaultKind.LOST), False),
        (AttemptFault(SmtpPhase.BODY, 250), False),
    ],
)
def test_a_fault_that_may_mean_too_many_connections(fault: AttemptFault, refuses: bool) -> None:
    assert refuses_connection(fault) is refuses


def test_a_refused_connection_leaves_one_place_to_other_processes() -> None:
    limit = ConnectionLimit.of(16)
    assert (limit.most, limit.allowed) == (16, 16)
    assert limit.refused(4, now=100).allowed == 3
    assert limit.refused(1, now=100).allowed == 1
    assert limit.refused(99, now=100).allowed == 15


def test_connections_refused_together_count_once() -> None:
    limit = ConnectionLimit.of(16)
    for others in range(15, 3, -1):
        limit = limit.refused(others, now=100)
    assert (limit.allowed, limit.pause, limit.more_at) == (3, FIRST_PAUSE, 100 + FIRST_PAUSE)


def test_one_connection_more_is_tried_after_each_pause() -> None:
    limit = ConnectionLimit.of(5).refused(3, now=0)
    assert limit.allowed == 2
    assert limit.tried_again(FIRST_PAUSE - 1) == limit
    three = limit.tried_again(FIRST_PAUSE)
    assert (three.allowed, three.tried_again(FIRST_PAUSE)) == (3, three)
    four = three.tried_again(2 * FIRST_PAUSE)
    assert four.allowed == 4
    assert four.tried_again(3 * FIRST_PAUSE) == ConnectionLimit.of(5)
    assert ConnectionLimit.of(5).tried_again(1e9) == ConnectionLimit.of(5)


def test_the_pause_doubles_each_time_one_more_is_refused() -> None:
    limit, now, pauses = ConnectionLimit.of(16).refused(4, now=0), 0.0, []
    for _ in range(7):
        pauses.append(limit.pause)
        now = limit.more_at
        limit = limit.tried_again(now).refused(4, now)
    assert pauses == [30, 60, 120, 240, 480, LONGEST_PAUSE, LONGEST_PAUSE]
