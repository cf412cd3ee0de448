"""The table of SMTP faults has one line for each rule, with its effect on the mail."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from models.delivery import (
    BEFORE_RCPT,
    OPENING,
    AttemptFault,
    DeliveryOutcome,
    DeliveryReason,
    DeliveryVerdict,
    FaultKind,
    RelayEvidence,
    SmtpPhase,
    blame,
    judge_fault,
    retry_delay,
)


def reply(phase: SmtpPhase, code: int, text: str = "") -> AttemptFault:
    head = text.split(" ", maxsplit=1)[0]
    return AttemptFault(phase, code, head if head.count(".") == 2 else None, text)


REPLIES = [
    # Before MAIL: the relay or our account with it is at fault, never this mail.
    (SmtpPhase.CONNECT, 421, "too busy", DeliveryOutcome.RELAY_DOWN, DeliveryReason.RELAY_BUSY),
    (SmtpPhase.CONNECT, 554, "go away", DeliveryOutcome.CONFIGURATION, DeliveryReason.RELAY_REFUSED),
    (SmtpPhase.HELLO, 451, "", DeliveryOutcome.RELAY_DOWN, DeliveryReason.RELAY_BUSY),
    (
        SmtpPhase.HELLO,
        504,
        "5.5.2 need fully-qualified hostname",
        DeliveryOutcome.CONFIGURATION,
        DeliveryReason.RELAY_REFUSED,
    ),
    (SmtpPhase.TLS, 454, "4.7.0 TLS not available", DeliveryOutcome.RELAY_DOWN, DeliveryReason.RELAY_BUSY),
    (SmtpPhase.TLS, 502, "", DeliveryOutcome.CONFIGURATION, DeliveryReason.RELAY_REFUSED),
    (
        SmtpPhase.AUTH,
        454,
        "4.7.0 Temporary authentication failure",
        DeliveryOutcome.RELAY_DOWN,
        DeliveryReason.RELAY_BUSY,
    ),
    (SmtpPhase.AUTH, 535, "5.7.8 bad credentials", DeliveryOutcome.CONFIGURATION, DeliveryReason.AUTH_REFUSED),
    (SmtpPhase.AUTH, 534, "5.7.9 mechanism too weak", DeliveryOutcome.CONFIGURATION, DeliveryReason.AUTH_REFUSED),
    (SmtpPhase.AUTH, 504, "", DeliveryOutcome.CONFIGURATION, DeliveryReason.AUTH_REFUSED),
    # The sender's side.
    (SmtpPhase.MAIL, 530, "5.7.0 Authentication required", DeliveryOutcome.CONFIGURATION, DeliveryReason.AUTH_REFUSED),
    (SmtpPhase.MAIL, 550, "5.7.1 sender not allowed", DeliveryOutcome.CONFIGURATION, DeliveryReason.SENDER_REFUSED),
    (SmtpPhase.MAIL, 503, "5.5.1 AUTH first", DeliveryOutcome.CONFIGURATION, DeliveryReason.AUTH_REFUSED),
    (SmtpPhase.MAIL, 503, "5.5.1 not now", DeliveryOutcome.CONFIGURATION, DeliveryReason.SENDER_REFUSED),
    (SmtpPhase.MAIL, 451, "4.3.0 try later", DeliveryOutcome.RETRY, DeliveryReason.DEFERRED),
    (SmtpPhase.MAIL, 421, "4.7.0 too many messages", DeliveryOutcome.RELAY_DOWN, DeliveryReason.RELAY_BUSY),
    (
        SmtpPhase.MAIL,
        454,
        "Throttling failure: Maximum sending rate exceeded.",
        DeliveryOutcome.RELAY_DOWN,
        DeliveryReason.THROTTLED,
    ),
    # The recipient.
    (SmtpPhase.RCPT, 450, "4.7.1 Greylisted", DeliveryOutcome.RETRY, DeliveryReason.DEFERRED),
    (SmtpPhase.RCPT, 421, "", DeliveryOutcome.RETRY, DeliveryReason.RELAY_BUSY),
    (
        SmtpPhase.RCPT,
        450,
        "4.1.1 unverified: host mx said: 421 throttled",
        DeliveryOutcome.RETRY,
        DeliveryReason.THROTTLED,
    ),
    (SmtpPhase.RCPT, 452, "4.2.2 mailbox full", DeliveryOutcome.RETRY, DeliveryReason.MAILBOX_FULL),
    (SmtpPhase.RCPT, 552, "5.2.2 mailbox full", DeliveryOutcome.RETRY, DeliveryReason.MAILBOX_FULL),
    (SmtpPhase.RCPT, 552, "", DeliveryOutcome.RETRY, DeliveryReason.MAILBOX_FULL),
    (SmtpPhase.RCPT, 550, "5.1.1 User unknown", DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED),
    (SmtpPhase.RCPT, 550, "5.1.2 bad destination", DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED),
    (SmtpPhase.RCPT, 553, "5.1.3 bad syntax", DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED),
    (SmtpPhase.RCPT, 551, "5.1.6 moved", DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED),
    (SmtpPhase.RCPT, 550, "5.1.10 recipient not found", DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED),
    (SmtpPhase.RCPT, 550, "5.2.1 disabled", DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED),
    (SmtpPhase.RCPT, 550, "no such user", DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED),
    (SmtpPhase.RCPT, 550, "no", DeliveryOutcome.FAILED, DeliveryReason.RECIPIENT_REFUSED),
    (SmtpPhase.RCPT, 554, "5.1.1 not one of the three codes", DeliveryOutcome.FAILED, DeliveryReason.RECIPIENT_REFUSED),
    (SmtpPhase.RCPT, 550, "5.7.1 blocked by policy", DeliveryOutcome.FAILED, DeliveryReason.POLICY),
    (
        SmtpPhase.RCPT,
        554,
        "5.7.1 <address>: Relay access denied",
        DeliveryOutcome.RETRY,
        DeliveryReason.RELAYING_DENIED,
    ),
    (
        SmtpPhase.RCPT,
        550,
        "5.7.54 SMTP; Unable to relay recipient",
        DeliveryOutcome.RETRY,
        DeliveryReason.RELAYING_DENIED,
    ),
    (SmtpPhase.RCPT, 530, "5.7.1 Authentication required", DeliveryOutcome.RETRY, DeliveryReason.AUTH_REFUSED),
    (SmtpPhase.RCPT, 503, "", DeliveryOutcome.RETRY, DeliveryReason.PROTOCOL_ERROR),
    (SmtpPhase.RCPT, 501, "5.1.3 bad syntax", DeliveryOutcome.FAILED, DeliveryReason.PROTOCOL_ERROR),
    # The message.
    (SmtpPhase.DATA, 451, "", DeliveryOutcome.RETRY, DeliveryReason.DEFERRED),
    (SmtpPhase.DATA, 421, "", DeliveryOutcome.RETRY, DeliveryReason.RELAY_BUSY),
    (SmtpPhase.DATA, 552, "", DeliveryOutcome.RETRY, DeliveryReason.MAILBOX_FULL),
    (SmtpPhase.DATA, 554, "no valid recipients", DeliveryOutcome.FAILED, DeliveryReason.MESSAGE_REJECTED),
    (SmtpPhase.BODY, 452, "4.3.1 insufficient storage", DeliveryOutcome.RETRY, DeliveryReason.DEFERRED),
    (SmtpPhase.BODY, 421, "4.3.2 closing", DeliveryOutcome.RETRY, DeliveryReason.RELAY_BUSY),
    (SmtpPhase.BODY, 554, "5.6.0 malformed", DeliveryOutcome.FAILED, DeliveryReason.MESSAGE_REJECTED),
    (SmtpPhase.BODY, 550, "5.7.515 Access denied", DeliveryOutcome.RETRY, DeliveryReason.SENDER_REFUSED),
    (SmtpPhase.BODY, 550, "5.1.1 said too late to be sure", DeliveryOutcome.FAILED, DeliveryReason.MESSAGE_REJECTED),
    (SmtpPhase.BODY, 552, "5.3.4 message too big", DeliveryOutcome.FAILED, DeliveryReason.MESSAGE_REJECTED),
    (SmtpPhase.BODY, 552, "", DeliveryOutcome.FAILED, DeliveryReason.MESSAGE_REJECTED),
    (SmtpPhase.BODY, 552, "5.2.2 mailbox full", DeliveryOutcome.RETRY, DeliveryReason.MAILBOX_FULL),
    (
        SmtpPhase.BODY,
        454,
        "Throttling failure: Maximum sending rate exceeded.",
        DeliveryOutcome.RETRY,
        DeliveryReason.THROTTLED,
    ),
]


@pytest.mark.parametrize(("phase", "code", "text", "outcome", "reason"), REPLIES)
def test_the_meaning_of_each_reply(
    phase: SmtpPhase, code: int, text: str, outcome: DeliveryOutcome, reason: DeliveryReason
) -> None:
    verdict = judge_fault(reply(phase, code, text))
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


NO_REPLY = pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (FaultKind.LOST, DeliveryReason.CONNECTION_LOST),
        (FaultKind.TIMEOUT, DeliveryReason.TIMED_OUT),
        (FaultKind.TLS, DeliveryReason.TLS_FAILED),
        (FaultKind.GARBLED, DeliveryReason.PROTOCOL_ERROR),
    ],
)


@pytest.mark.parametrize("phase", sorted(BEFORE_RCPT))
@NO_REPLY
def test_a_missing_reply_before_the_recipient_blames_no_mail(
    phase: SmtpPhase, trouble: FaultKind, reason: DeliveryReason
) -> None:
    assert judge_fault(AttemptFault(phase, trouble=trouble)) == DeliveryVerdict(DeliveryOutcome.RELAY_DOWN, reason)


@pytest.mark.parametrize("phase", [SmtpPhase.RCPT, SmtpPhase.DATA])
@NO_REPLY
def test_a_missing_reply_about_a_recipient_retries_that_mail(
    phase: SmtpPhase, trouble: FaultKind, reason: DeliveryReason
) -> None:
    assert judge_fault(AttemptFault(phase, trouble=trouble)) == DeliveryVerdict(
        DeliveryOutcome.RETRY, reason, suspect=DeliveryOutcome.RELAY_DOWN
    )


@pytest.mark.parametrize("trouble", [FaultKind.LOST, FaultKind.TIMEOUT, FaultKind.TLS, FaultKind.GARBLED])
def test_a_missing_reply_after_the_body_began_is_uncertain(trouble: FaultKind) -> None:
    assert judge_fault(AttemptFault(SmtpPhase.BODY, trouble=trouble)) == DeliveryVerdict(
        DeliveryOutcome.UNCERTAIN, DeliveryReason.LOST_AFTER_BODY
    )


def test_a_reply_that_fits_no_command_is_a_missing_reply() -> None:
    assert judge_fault(AttemptFault(SmtpPhase.MAIL, 354)).outcome is DeliveryOutcome.RELAY_DOWN
    assert judge_fault(AttemptFault(SmtpPhase.DATA, 250)).suspect is DeliveryOutcome.RELAY_DOWN
    assert judge_fault(AttemptFault(SmtpPhase.BODY, 354)).outcome is DeliveryOutcome.UNCERTAIN


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (399, DeliveryOutcome.UNCERTAIN),
        (400, DeliveryOutcome.RETRY),
        (499, DeliveryOutcome.RETRY),
        (500, DeliveryOutcome.FAILED),
        (599, DeliveryOutcome.FAILED),
        (600, DeliveryOutcome.UNCERTAIN),
    ],
)
def test_a_reply_code_is_transient_permanent_or_no_smtp(code: int, outcome: DeliveryOutcome) -> None:
    assert judge_fault(AttemptFault(SmtpPhase.BODY, code)).outcome is outcome


def test_a_missing_feature_of_the_relay_is_a_fault_of_configuration() -> None:
    lacking = DeliveryVerdict(DeliveryOutcome.CONFIGURATION, DeliveryReason.NOT_OFFERED)
    assert judge_fault(AttemptFault(SmtpPhase.TLS, trouble=FaultKind.UNSUPPORTED)) == lacking
    assert judge_fault(AttemptFault(SmtpPhase.AUTH, trouble=FaultKind.UNSUPPORTED)) == lacking


def test_an_address_that_cannot_be_written_fails_for_good() -> None:
    assert judge_fault(AttemptFault(SmtpPhase.RCPT, trouble=FaultKind.INVALID)) == DeliveryVerdict(
        DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_UNSENDABLE
    )


def test_only_a_hard_bounce_at_rcpt_blames_the_address() -> None:
    for phase, code, enhanced in product(SmtpPhase, range(400, 600), (None, "5.1.1", "5.7.1")):
        blamed = judge_fault(AttemptFault(phase, code, enhanced)).reason is DeliveryReason.ADDRESS_REJECTED
        assert blamed == (phase is SmtpPhase.RCPT and code in {550, 551, 553, 556} and enhanced == "5.1.1")


def test_no_answer_about_one_recipient_stops_the_others() -> None:
    texts = ("", "4.7.0 throttled, retry in 60 minutes", "5.7.1 Relay access denied", "4.3.2 closing")
    for phase, code, text in product(set(SmtpPhase) - BEFORE_RCPT, range(400, 600), texts):
        verdict = judge_fault(reply(phase, code, text))
        assert verdict.outcome not in OPENING
        assert verdict.outcome in (DeliveryOutcome.RETRY, DeliveryOutcome.FAILED)
        assert verdict.suspect is None or verdict.suspect in OPENING


@pytest.mark.parametrize(
    ("phase", "code", "text"),
    [
        (SmtpPhase.CONNECT, 421, "too busy, come back in 45 s"),
        (SmtpPhase.RCPT, 421, "closing, retry in 45 seconds"),  # also where only this mail is set back
        (SmtpPhase.MAIL, 454, "Throttling failure, retry after 45s"),
    ],
)
def test_a_delay_is_heard_whatever_the_answer_means(phase: SmtpPhase, code: int, text: str) -> None:
    assert judge_fault(AttemptFault(phase, code, text=text)).hint == 45


@pytest.mark.parametrize(
    ("outcome", "failures", "hint", "seconds"),
    [
        (DeliveryOutcome.RELAY_DOWN, 1, None, 10),
        (DeliveryOutcome.RELAY_DOWN, 2, None, 30),
        (DeliveryOutcome.RELAY_DOWN, 3, None, 120),
        (DeliveryOutcome.RELAY_DOWN, 50, None, 300),
        (DeliveryOutcome.RETRY, 0, None, 60),
        (DeliveryOutcome.RETRY, 1, None, 60),
        (DeliveryOutcome.RETRY, 2, None, 300),
        (DeliveryOutcome.RETRY, 3, None, 900),
        (DeliveryOutcome.RETRY, 4, None, 1800),
        (DeliveryOutcome.RETRY, 5, None, 3600),
        (DeliveryOutcome.RETRY, 40, None, 3600),
        (DeliveryOutcome.RETRY, 1, 300, 300),
        (DeliveryOutcome.RETRY, 1, 1, 60),  # "try again in 1 second" is no reason to hurry
        (DeliveryOutcome.RETRY, 3, 60, 900),
        (DeliveryOutcome.RETRY, 1, 90_000, 3600),
        (DeliveryOutcome.CONFIGURATION, 1, None, 300),
        (DeliveryOutcome.CONFIGURATION, 9, None, 1800),
        (DeliveryOutcome.UNCERTAIN, 1, None, 900),
        (DeliveryOutcome.UNCERTAIN, 5, 10, 900),
    ],
)
def test_retry_delay(outcome: DeliveryOutcome, failures: int, hint: float | None, seconds: float) -> None:
    assert retry_delay(outcome, failures, 0.0, hint) == seconds
    spread = 2.0 if outcome is DeliveryOutcome.UNCERTAIN else 1.2
    assert seconds < retry_delay(outcome, failures, 0.999, hint) < seconds * spread


def test_a_failed_mail_is_not_tried_again() -> None:
    with pytest.raises(ValueError, match="not tried again"):
        retry_delay(DeliveryOutcome.FAILED, 1, 0.0)


# A recipient is blamed only if the relay takes other mails

NOW = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
BOUNCE = judge_fault(reply(SmtpPhase.RCPT, 550, "5.1.1 User unknown"))
UNNAMED = judge_fault(reply(SmtpPhase.RCPT, 554, "5.7.1 Access denied"))


def ago(minutes: int | None) -> datetime | None:
    return None if minutes is None else NOW - timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("verdict", "accepted", "doubted", "refused", "doubts", "blamed"),
    [
        # minutes ago: a mail accepted, a mail refused for a reason that may be ours, this one refused before
        (BOUNCE, None, None, None, False, False),  # nothing was accepted yet
        (BOUNCE, None, 1, 1, False, False),
        (BOUNCE, 60, None, None, False, True),
        (BOUNCE, 9 * 1440, None, None, False, False),  # nothing for more than a week
        (BOUNCE, 60, None, None, True, False),  # one recipient after the other
        (BOUNCE, 60, 30, None, False, False),  # since then the relay refused others, perhaps for our fault
        (BOUNCE, 60, 90, None, False, True),
        (UNNAMED, None, None, None, False, False),
        (UNNAMED, 60, None, None, False, False),  # the relay may have been set up anew since
        (UNNAMED, 60, 90, 90, False, True),
        (UNNAMED, 60, 90, 90, True, False),
        (UNNAMED, 90, 60, 60, False, False),
        (UNNAMED, 60, 30, 90, False, False),
        (UNNAMED, 60, 60, 60, False, True),
    ],
)
def test_a_recipient_is_blamed_when_the_relay_takes_other_mails(
    verdict: DeliveryVerdict, accepted: int | None, doubted: int | None, refused: int | None, doubts: bool, blamed: bool
) -> None:
    evidence = RelayEvidence(ago(accepted), ago(doubted), ago(refused), NOW)
    last = blame(verdict, evidence, doubted=doubts)
    assert last.outcome is (DeliveryOutcome.FAILED if blamed else DeliveryOutcome.RETRY)
    assert (last.reason, last.doubts_relay) == (verdict.reason, not blamed)


def test_an_address_that_cannot_be_written_needs_no_evidence() -> None:
    unsendable = judge_fault(AttemptFault(SmtpPhase.RCPT, trouble=FaultKind.INVALID))
    assert blame(unsendable, RelayEvidence(None, None, None, NOW), doubted=True) == unsendable
