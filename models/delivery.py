"""These rules decide what an answer of the mail relay means for one mail, without a clock or a connection.

The classes follow RFC 5321 (reply codes), RFC 3463 (enhanced codes) and RFC 4954 (authentication). Two errors are
costly, and the rules avoid them: to blame a person's address for a fault of ours, and to send a mail again that may
have arrived. A third error would be to take one recipient's fault for the relay's: all mails would stop.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class SmtpPhase(StrEnum):
    """The step of the SMTP exchange that was under way."""

    CONNECT = "connect"  # TCP, implicit TLS and the greeting
    HELLO = "hello"
    TLS = "tls"  # STARTTLS
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # the command, up to its 354
    BODY = "body"  # the first byte of the message was written; up to the reply to the final dot


class FaultKind(StrEnum):
    """The way in which an attempt failed."""

    REPLY = "reply"  # the relay answered with a code
    LOST = "lost"  # no connection could be made, or it was dropped
    TIMEOUT = "timeout"
    TLS = "tls"  # the handshake or the certificate
    UNSUPPORTED = "unsupported"  # the relay does not offer what our settings require
    GARBLED = "garbled"  # an answer that is not SMTP, or that does not fit the command
    INVALID = "invalid"  # an address that cannot be written in a command; nothing was sent


class DeliveryOutcome(StrEnum):
    """The consequence of a fault for the mail."""

    RETRY = "retry"  # transient for this mail; counts a failure
    RELAY_DOWN = "relay_down"  # the fault of the relay or the connection; burns no attempt
    CONFIGURATION = "configuration"  # our settings, or the relay refuses us; alerts, burns no attempt
    FAILED = "failed"  # permanent for this mail
    UNCERTAIN = "uncertain"  # lost after the body began: it may have arrived


class DeliveryReason(StrEnum):
    """The reason of an outcome: a stable word that is recorded, counted in metrics and explained to the manager."""

    CONNECTION_LOST = "connection_lost"
    TIMED_OUT = "timed_out"
    TLS_FAILED = "tls_failed"
    PROTOCOL_ERROR = "protocol_error"
    RELAY_BUSY = "relay_busy"
    THROTTLED = "throttled"
    DEFERRED = "deferred"
    MAILBOX_FULL = "mailbox_full"
    NOT_OFFERED = "not_offered"  # STARTTLS or AUTH is required by our settings and not offered
    AUTH_REFUSED = "auth_refused"
    RELAYING_DENIED = "relaying_denied"
    RELAY_REFUSED = "relay_refused"  # 5xx before MAIL
    SENDER_REFUSED = "sender_refused"  # 5xx at MAIL
    ADDRESS_REJECTED = "address_rejected"  # a hard bounce: the only reason that may suppress an address
    ADDRESS_UNSENDABLE = "address_unsendable"
    RECIPIENT_REFUSED = "recipient_refused"  # 5xx at RCPT without a code that proves the address wrong
    POLICY = "policy"
    MESSAGE_REJECTED = "message_rejected"
    LOST_AFTER_BODY = "lost_after_body"


@dataclass(frozen=True, slots=True)
class AttemptFault:
    """An attempt that did not end with the reply 250.

    Parameters:
      phase: the step under way.
      code: the reply code (three digits), or None when there was no reply.
      enhanced: the RFC 3463 code at the head of the reply (``5.1.1``), if any.
      text: the relay's words on one line, with mail addresses masked.
      trouble: the kind of fault.
    """

    phase: SmtpPhase
    code: int | None = None
    enhanced: str | None = None
    text: str = ""
    trouble: FaultKind = FaultKind.REPLY


@dataclass(frozen=True, slots=True)
class DeliveryVerdict:
    """The outcome of an attempt, its reason, and the delay in seconds that the relay asked for, if it did.

    `suspect` is the outcome for every mail if other recipients get the same answer (``CircuitBreaker``).
    """

    outcome: DeliveryOutcome
    reason: DeliveryReason
    hint: float | None = None
    suspect: DeliveryOutcome | None = None


HARD_BOUNCE_CODES = frozenset({550, 551, 553})
HARD_BOUNCE_ENHANCED = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
AUTH_CODES = frozenset({530, 534, 535, 538})
SYNTAX_CODES = frozenset({500, 501, 502, 503, 504})
BEFORE_MAIL = frozenset({SmtpPhase.CONNECT, SmtpPhase.HELLO, SmtpPhase.TLS, SmtpPhase.AUTH})
BEFORE_RCPT = BEFORE_MAIL | {SmtpPhase.MAIL}
OPENING = frozenset({DeliveryOutcome.RELAY_DOWN, DeliveryOutcome.CONFIGURATION})
"""These outcomes open the circuit breaker: no mail goes to the relay for a while."""

_RELAYING_DENIED = re.compile(
    r"relay(ing)? (access )?(is )?(denied|not (allowed|permitted))|(unable|not permitted) to relay", re.IGNORECASE
)
_HINT = re.compile(r"\b(\d{1,5}) ?(s|secs?|seconds?|mins?|minutes?)\b", re.IGNORECASE)


def judge_fault(fault: AttemptFault) -> DeliveryVerdict:
    """Decides what a fault means for the mail that was being sent.

    After the recipient was named, an answer that blames the relay or our settings may come from the recipient's server:
    relays ask it while we wait, and quote it. Such a mail is retried by itself, and it takes more evidence to stop the
    others (``CircuitBreaker``).
    """
    verdict = _judge_by_code(fault)
    if verdict.outcome in OPENING and fault.phase not in BEFORE_RCPT:
        return DeliveryVerdict(DeliveryOutcome.RETRY, verdict.reason, verdict.hint, suspect=verdict.outcome)
    return verdict


def _judge_by_code(fault: AttemptFault) -> DeliveryVerdict:
    if fault.code is None or fault.trouble is not FaultKind.REPLY or not 400 <= fault.code <= 599:
        return _judge_without_reply(fault)
    if fault.code < 500:
        return _judge_transient(fault)
    return _judge_permanent(fault)


def _judge_without_reply(fault: AttemptFault) -> DeliveryVerdict:
    if fault.trouble is FaultKind.INVALID:
        return DeliveryVerdict(DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_UNSENDABLE)
    if fault.phase is SmtpPhase.BODY:
        return DeliveryVerdict(DeliveryOutcome.UNCERTAIN, DeliveryReason.LOST_AFTER_BODY)
    if fault.trouble is FaultKind.UNSUPPORTED:
        return DeliveryVerdict(DeliveryOutcome.CONFIGURATION, DeliveryReason.NOT_OFFERED)
    reason = {
        FaultKind.TIMEOUT: DeliveryReason.TIMED_OUT,
        FaultKind.TLS: DeliveryReason.TLS_FAILED,
        FaultKind.LOST: DeliveryReason.CONNECTION_LOST,
    }.get(fault.trouble, DeliveryReason.PROTOCOL_ERROR)
    return DeliveryVerdict(DeliveryOutcome.RELAY_DOWN, reason)


def _judge_transient(fault: AttemptFault) -> DeliveryVerdict:
    hint = _hinted_seconds(fault.text)
    if "throttl" in fault.text.lower():
        # Amazon SES: "454 Throttling failure: Maximum sending rate exceeded", at any step; this mail is not at fault.
        return DeliveryVerdict(DeliveryOutcome.RELAY_DOWN, DeliveryReason.THROTTLED, hint)
    if fault.phase in BEFORE_MAIL or fault.code == 421:
        return DeliveryVerdict(DeliveryOutcome.RELAY_DOWN, DeliveryReason.RELAY_BUSY, hint)
    reason = DeliveryReason.MAILBOX_FULL if _is_about(fault, "2.2") else DeliveryReason.DEFERRED
    return DeliveryVerdict(DeliveryOutcome.RETRY, reason, hint)


def _judge_permanent(fault: AttemptFault) -> DeliveryVerdict:
    if fault.code in AUTH_CODES or fault.phase is SmtpPhase.AUTH:
        return DeliveryVerdict(DeliveryOutcome.CONFIGURATION, DeliveryReason.AUTH_REFUSED)
    if fault.phase in BEFORE_MAIL:
        return DeliveryVerdict(DeliveryOutcome.CONFIGURATION, DeliveryReason.RELAY_REFUSED)
    if fault.phase is SmtpPhase.MAIL:
        return DeliveryVerdict(DeliveryOutcome.CONFIGURATION, DeliveryReason.SENDER_REFUSED)
    if _RELAYING_DENIED.search(fault.text):
        # Postfix answers "554 5.7.1 Relay access denied" at RCPT to a client that may not use it.
        return DeliveryVerdict(DeliveryOutcome.CONFIGURATION, DeliveryReason.RELAYING_DENIED)
    if fault.code in SYNTAX_CODES:
        # The fault is ours. 503 means a wrong sequence, which a new connection may cure; the others would come again.
        return DeliveryVerdict(
            DeliveryOutcome.RETRY if fault.code == 503 else DeliveryOutcome.FAILED, DeliveryReason.PROTOCOL_ERROR
        )
    return _judge_refusal(fault)


def _judge_refusal(fault: AttemptFault) -> DeliveryVerdict:
    """Decides about a 5xx reply that concerns this recipient or this message."""
    # A bare 552 means a full mailbox before the body, and a message that is too big after it (RFC 5321, 4.2.3).
    if _is_about(fault, "2.2") or (fault.code == 552 and fault.enhanced is None and fault.phase is not SmtpPhase.BODY):
        return DeliveryVerdict(DeliveryOutcome.RETRY, DeliveryReason.MAILBOX_FULL)
    if fault.enhanced is not None and fault.enhanced.startswith("5.7."):
        return DeliveryVerdict(DeliveryOutcome.FAILED, DeliveryReason.POLICY)
    if fault.phase is not SmtpPhase.RCPT:
        return DeliveryVerdict(DeliveryOutcome.FAILED, DeliveryReason.MESSAGE_REJECTED)
    if fault.code in HARD_BOUNCE_CODES and fault.enhanced in HARD_BOUNCE_ENHANCED:
        return DeliveryVerdict(DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED)
    return DeliveryVerdict(DeliveryOutcome.FAILED, DeliveryReason.RECIPIENT_REFUSED)


def _is_about(fault: AttemptFault, subject: str) -> bool:
    return fault.enhanced is not None and fault.enhanced[2:] == subject


def _hinted_seconds(text: str) -> float | None:
    """Returns the delay in seconds that a relay names ("try again in 5 minutes"), or None."""
    found = _HINT.search(text)
    if found is None:
        return None
    return float(found[1]) * (60 if found[2].lower().startswith("m") else 1)


_STEPS: dict[DeliveryOutcome, tuple[float, ...]] = {
    DeliveryOutcome.RELAY_DOWN: (10, 30, 120, 300),
    DeliveryOutcome.RETRY: (60, 300, 900, 1800, 3600),
    DeliveryOutcome.CONFIGURATION: (300, 900, 1800),
    DeliveryOutcome.UNCERTAIN: (900,),
}
SHORTEST_HINT, LONGEST_HINT = 10.0, 3600.0


def retry_delay(outcome: DeliveryOutcome, failures: int, jitter: float, hint: float | None = None) -> float:
    """Returns the seconds before the mail is tried again; the last step repeats.

    Parameters:
      failures: faults in a row with this outcome, this one included (1 is the first).
      jitter: a random number in [0, 1), so that mails postponed together do not come back together; it adds up to a
        fifth, and for an uncertain mail up to 15 minutes.
      hint: seconds the relay asked for (``DeliveryVerdict.hint``), respected between 10 seconds and one hour.

    Raises:
      ValueError: a failed mail is not tried again.
    """
    if outcome not in _STEPS:
        raise ValueError(f"a mail that is {outcome} is not tried again")
    steps = _STEPS[outcome]
    base = steps[min(max(failures, 1), len(steps)) - 1]
    if outcome is DeliveryOutcome.UNCERTAIN:
        return base * (1 + jitter)
    if hint is not None:
        base = min(max(hint, SHORTEST_HINT), LONGEST_HINT)
    return base * (1 + jitter / 5)
