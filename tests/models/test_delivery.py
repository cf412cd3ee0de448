"""The table of SMTP faults: one line per rule, each with what it must mean for the mail."""

from itertools import product

import pytest

from models.delivery import (
    BEFORE_RCPT,
    RESTING,
    TELLING,
    Fault,
    Outcome,
    Phase,
    Reason,
    Suspicion,
    Trouble,
    Verdict,
    judge,
    retry_delay,
    weigh,
)


def reply(phase: Phase, code: int, text: str = "") -> Fault:
    head = text.split(" ", maxsplit=1)[0]
    return Fault(phase, code, head if head.count(".") == 2 else None, text)


REPLIES = [
    # Before MAIL: the relay, or our standing with it; never this mail.
    (Phase.CONNECT, 421, "too busy", Outcome.RELAY_DOWN, Reason.RELAY_BUSY),
    (Phase.CONNECT, 554, "go away", Outcome.CONFIGURATION, Reason.RELAY_REFUSED),
    (Phase.HELLO, 451, "", Outcome.RELAY_DOWN, Reason.RELAY_BUSY),
    (Phase.HELLO, 504, "5.5.2 need fully-qualified hostname", Outcome.CONFIGURATION, Reason.RELAY_REFUSED),
    (Phase.TLS, 454, "4.7.0 TLS not available", Outcome.RELAY_DOWN, Reason.RELAY_BUSY),
    (Phase.TLS, 502, "", Outcome.CONFIGURATION, Reason.RELAY_REFUSED),
    (Phase.AUTH, 454, "4.7.0 Temporary authentication failure", Outcome.RELAY_DOWN, Reason.RELAY_BUSY),
    (Phase.AUTH, 535, "5.7.8 bad credentials", Outcome.CONFIGURATION, Reason.AUTH_REFUSED),
    (Phase.AUTH, 534, "5.7.9 mechanism too weak", Outcome.CONFIGURATION, Reason.AUTH_REFUSED),
    (Phase.AUTH, 504, "", Outcome.CONFIGURATION, Reason.AUTH_REFUSED),
    # The sender's side.
    (Phase.MAIL, 530, "5.7.0 Authentication required", Outcome.CONFIGURATION, Reason.AUTH_REFUSED),
    (Phase.MAIL, 550, "5.7.1 sender not allowed", Outcome.CONFIGURATION, Reason.SENDER_REFUSED),
    (Phase.MAIL, 503, "5.5.1 AUTH first", Outcome.CONFIGURATION, Reason.SENDER_REFUSED),
    (Phase.MAIL, 451, "4.3.0 try later", Outcome.RETRY, Reason.DEFERRED),
    (Phase.MAIL, 421, "4.7.0 too many messages", Outcome.RELAY_DOWN, Reason.RELAY_BUSY),
    (Phase.MAIL, 454, "Throttling failure: Maximum sending rate exceeded.", Outcome.RELAY_DOWN, Reason.THROTTLED),
    # The recipient.
    (Phase.RCPT, 450, "4.7.1 Greylisted", Outcome.RETRY, Reason.DEFERRED),
    (Phase.RCPT, 421, "", Outcome.RETRY, Reason.RELAY_BUSY),
    (Phase.RCPT, 450, "4.1.1 unverified: host mx said: 421 throttled", Outcome.RETRY, Reason.THROTTLED),
    (Phase.RCPT, 452, "4.2.2 mailbox full", Outcome.RETRY, Reason.MAILBOX_FULL),
    (Phase.RCPT, 552, "5.2.2 mailbox full", Outcome.RETRY, Reason.MAILBOX_FULL),
    (Phase.RCPT, 552, "", Outcome.RETRY, Reason.MAILBOX_FULL),
    (Phase.RCPT, 550, "5.1.1 User unknown", Outcome.FAILED, Reason.ADDRESS_REJECTED),
    (Phase.RCPT, 550, "5.1.2 bad destination", Outcome.FAILED, Reason.ADDRESS_REJECTED),
    (Phase.RCPT, 553, "5.1.3 bad syntax", Outcome.FAILED, Reason.ADDRESS_REJECTED),
    (Phase.RCPT, 551, "5.1.6 moved", Outcome.FAILED, Reason.ADDRESS_REJECTED),
    (Phase.RCPT, 550, "5.1.10 recipient not found", Outcome.FAILED, Reason.ADDRESS_REJECTED),
    (Phase.RCPT, 550, "5.2.1 disabled", Outcome.FAILED, Reason.ADDRESS_REJECTED),
    (Phase.RCPT, 550, "no such user", Outcome.FAILED, Reason.RECIPIENT_REFUSED),
    (Phase.RCPT, 554, "5.1.1 not one of the three codes", Outcome.FAILED, Reason.RECIPIENT_REFUSED),
    (Phase.RCPT, 550, "5.7.1 blocked by policy", Outcome.FAILED, Reason.POLICY),
    (Phase.RCPT, 554, "5.7.1 <address>: Relay access denied", Outcome.RETRY, Reason.RELAYING_DENIED),
    (Phase.RCPT, 550, "5.7.54 SMTP; Unable to relay recipient", Outcome.RETRY, Reason.RELAYING_DENIED),
    (Phase.RCPT, 530, "5.7.1 Authentication required", Outcome.RETRY, Reason.AUTH_REFUSED),
    (Phase.RCPT, 503, "", Outcome.RETRY, Reason.PROTOCOL_ERROR),
    (Phase.RCPT, 501, "5.1.3 bad syntax", Outcome.FAILED, Reason.PROTOCOL_ERROR),
    # The message.
    (Phase.DATA, 451, "", Outcome.RETRY, Reason.DEFERRED),
    (Phase.DATA, 421, "", Outcome.RETRY, Reason.RELAY_BUSY),
    (Phase.DATA, 552, "", Outcome.RETRY, Reason.MAILBOX_FULL),
    (Phase.DATA, 554, "no valid recipients", Outcome.FAILED, Reason.MESSAGE_REJECTED),
    (Phase.BODY, 452, "4.3.1 insufficient storage", Outcome.RETRY, Reason.DEFERRED),
    (Phase.BODY, 421, "4.3.2 closing", Outcome.RETRY, Reason.RELAY_BUSY),
    (Phase.BODY, 554, "5.6.0 malformed", Outcome.FAILED, Reason.MESSAGE_REJECTED),
    (Phase.BODY, 550, "5.7.515 Access denied", Outcome.FAILED, Reason.POLICY),
    (Phase.BODY, 550, "5.1.1 said too late to be sure", Outcome.FAILED, Reason.MESSAGE_REJECTED),
    (Phase.BODY, 552, "5.3.4 message too big", Outcome.FAILED, Reason.MESSAGE_REJECTED),
    (Phase.BODY, 552, "", Outcome.FAILED, Reason.MESSAGE_REJECTED),
    (Phase.BODY, 552, "5.2.2 mailbox full", Outcome.RETRY, Reason.MAILBOX_FULL),
    (Phase.BODY, 454, "Throttling failure: Maximum sending rate exceeded.", Outcome.RETRY, Reason.THROTTLED),
]


@pytest.mark.parametrize(("phase", "code", "text", "outcome", "reason"), REPLIES)
def test_what_a_reply_means(phase: Phase, code: int, text: str, outcome: Outcome, reason: Reason) -> None:
    verdict = judge(reply(phase, code, text))
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


NO_REPLY = pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (Trouble.LOST, Reason.CONNECTION_LOST),
        (Trouble.TIMEOUT, Reason.TIMED_OUT),
        (Trouble.TLS, Reason.TLS_FAILED),
        (Trouble.GARBLED, Reason.PROTOCOL_ERROR),
    ],
)


@pytest.mark.parametrize("phase", sorted(BEFORE_RCPT))
@NO_REPLY
def test_no_reply_before_the_recipient_is_never_this_mails_fault(
    phase: Phase, trouble: Trouble, reason: Reason
) -> None:
    assert judge(Fault(phase, trouble=trouble)) == Verdict(Outcome.RELAY_DOWN, reason)


@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.DATA])
@NO_REPLY
def test_no_reply_about_a_recipient_sets_that_mail_back(phase: Phase, trouble: Trouble, reason: Reason) -> None:
    assert judge(Fault(phase, trouble=trouble)) == Verdict(Outcome.RETRY, reason, suspect=Outcome.RELAY_DOWN)


@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.TIMEOUT, Trouble.TLS, Trouble.GARBLED])
def test_no_reply_after_the_body_began_is_uncertain(trouble: Trouble) -> None:
    assert judge(Fault(Phase.BODY, trouble=trouble)).outcome is Outcome.UNCERTAIN


def test_a_reply_that_fits_nothing_is_read_as_no_reply() -> None:
    assert judge(Fault(Phase.MAIL, 354)).outcome is Outcome.RELAY_DOWN
    assert judge(Fault(Phase.DATA, 250)).suspect is Outcome.RELAY_DOWN
    assert judge(Fault(Phase.BODY, 354)).outcome is Outcome.UNCERTAIN


def test_what_our_settings_require_and_the_relay_lacks_is_configuration() -> None:
    assert judge(Fault(Phase.TLS, trouble=Trouble.UNSUPPORTED)).outcome is Outcome.CONFIGURATION
    assert judge(Fault(Phase.AUTH, trouble=Trouble.UNSUPPORTED)).outcome is Outcome.CONFIGURATION


def test_an_address_that_cannot_be_written_fails_for_good() -> None:
    assert judge(Fault(Phase.RCPT, trouble=Trouble.INVALID)) == Verdict(Outcome.FAILED, Reason.ADDRESS_UNSENDABLE)


def test_only_a_hard_bounce_at_rcpt_blames_the_address() -> None:
    for phase, code, enhanced in product(Phase, range(400, 600), (None, "5.1.1", "5.7.1")):
        blamed = judge(Fault(phase, code, enhanced)).reason is Reason.ADDRESS_REJECTED
        assert blamed == (phase is Phase.RCPT and code in {550, 551, 553} and enhanced == "5.1.1")


def test_no_answer_about_one_recipient_stops_the_others() -> None:
    texts = ("", "4.7.0 throttled, retry in 60 minutes", "5.7.1 Relay access denied", "4.3.2 closing")
    for phase, code, text in product(set(Phase) - BEFORE_RCPT, range(400, 600), texts):
        verdict = judge(reply(phase, code, text))
        assert verdict.outcome not in RESTING
        assert verdict.suspect is None or (verdict.outcome is Outcome.RETRY and verdict.suspect in RESTING)


BUSY = Verdict(Outcome.RETRY, Reason.RELAY_BUSY, suspect=Outcome.RELAY_DOWN)
LOST = Verdict(Outcome.RETRY, Reason.CONNECTION_LOST, suspect=Outcome.RELAY_DOWN)
DENIED = Verdict(Outcome.RETRY, Reason.RELAYING_DENIED, suspect=Outcome.CONFIGURATION)
GREY = Verdict(Outcome.RETRY, Reason.DEFERRED)


@pytest.mark.parametrize(
    ("answers", "founded"),
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
        ([(f"{n}@x", BUSY) for n in range(TELLING + 1)], [False] * (TELLING - 1) + [True, True]),
    ],
)
def test_when_answers_about_recipients_tell_of_the_relay(
    answers: list[tuple[str, Verdict]], founded: list[bool]
) -> None:
    suspicion, found = Suspicion(), []
    for recipient, verdict in answers:
        suspicion, enough = weigh(suspicion, verdict, recipient)
        found.append(enough)
    assert found == founded


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("4.7.1 Greylisted, try again in 300 seconds", 300),
        ("try again in 5 minutes", 300),
        ("retry after 45s", 45),
        ("retry in 1 min.", 60),
        ("4.7.1 Greylisted", None),
        ("10.0.0.1 is slow", None),
    ],
)
def test_the_delay_a_relay_asks_for(text: str, hint: float | None) -> None:
    assert judge(Fault(Phase.RCPT, 450, text=text)).hint == hint


@pytest.mark.parametrize(
    ("outcome", "failures", "hint", "seconds"),
    [
        (Outcome.RELAY_DOWN, 1, None, 10),
        (Outcome.RELAY_DOWN, 2, None, 30),
        (Outcome.RELAY_DOWN, 3, None, 120),
        (Outcome.RELAY_DOWN, 50, None, 300),
        (Outcome.RETRY, 0, None, 60),
        (Outcome.RETRY, 1, None, 60),
        (Outcome.RETRY, 2, None, 300),
        (Outcome.RETRY, 3, None, 900),
        (Outcome.RETRY, 4, None, 1800),
        (Outcome.RETRY, 5, None, 3600),
        (Outcome.RETRY, 40, None, 3600),
        (Outcome.RETRY, 1, 300, 300),
        (Outcome.RETRY, 1, 0, 10),
        (Outcome.RETRY, 1, 90_000, 3600),
        (Outcome.CONFIGURATION, 1, None, 300),
        (Outcome.CONFIGURATION, 9, None, 1800),
        (Outcome.UNCERTAIN, 1, None, 900),
        (Outcome.UNCERTAIN, 5, 10, 900),
    ],
)
def test_retry_delay(outcome: Outcome, failures: int, hint: float | None, seconds: float) -> None:
    assert retry_delay(outcome, failures, 0.0, hint) == seconds
    spread = 2.0 if outcome is Outcome.UNCERTAIN else 1.2
    assert seconds < retry_delay(outcome, failures, 0.999, hint) < seconds * spread


def test_a_failed_mail_has_no_next_time() -> None:
    with pytest.raises(ValueError, match="not tried again"):
        retry_delay(Outcome.FAILED, 1, 0.0)
