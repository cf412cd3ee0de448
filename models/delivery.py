"""These rules decide what an answer of the mail relay means for one mail, without a clock or a connection.

The classes follow RFC 5321 (reply codes), RFC 3463 (enhanced codes) and RFC 4954 (authentication); ``models.replies``
reads whom an answer speaks of. Two errors are costly, and the rules avoid them: to blame a person's address for a fault
of ours, and to send a mail again that may have arrived. A third error would be to take one recipient's fault for the
relay's: all mails would stop.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from models.replies import ReplySubject, hinted_seconds, read_reply


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
    RELAY_REFUSED = "relay_refused"  # 5xx before MAIL, or words about our host or the relay's own state
    SENDER_REFUSED = "sender_refused"  # 5xx at MAIL, or words about our sender address
    ADDRESS_REJECTED = "address_rejected"  # a hard bounce: the only reason that may suppress an address
    ADDRESS_UNSENDABLE = "address_unsendable"
    RECIPIENT_REFUSED = "recipient_refused"  # 5xx at RCPT without a code or words that prove the address wrong
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

    `suspect` is the outcome for every mail if other recipients get the same answer (``CircuitBreaker``). A mail that
    failed with a suspect is blamed only on evidence (``blame``).
    """

    outcome: DeliveryOutcome
    reason: DeliveryReason
    hint: float | None = None
    suspect: DeliveryOutcome | None = None

    @property
    def blames(self) -> bool:
        """Whether the mail failed by a reply, for which the recipient or the message is to blame unless we are."""
        return self.outcome is DeliveryOutcome.FAILED and self.suspect is not None

    @property
    def doubts_relay(self) -> bool:
        """Whether our settings, or the relay's, may be at fault."""
        at_fault = DeliveryOutcome.CONFIGURATION
        return self.outcome is at_fault or (self.suspect is at_fault and not self.blames)


HARD_BOUNCE_CODES = frozenset({550, 551, 553, 556})
AUTH_CODES = frozenset({530, 534, 535, 538})
SYNTAX_CODES = frozenset({500, 501, 502, 503, 504})
BEFORE_MAIL = frozenset({SmtpPhase.CONNECT, SmtpPhase.HELLO, SmtpPhase.TLS, SmtpPhase.AUTH})
BEFORE_RCPT = BEFORE_MAIL | {SmtpPhase.MAIL}
OPENING = frozenset({DeliveryOutcome.RELAY_DOWN, DeliveryOutcome.CONFIGURATION})
"""These outcomes open the circuit breaker: no mail goes to the relay for a while."""

OUR_REASONS: Final = {
    ReplySubject.SENDER: DeliveryReason.SENDER_REFUSED,
    ReplySubject.CLIENT: DeliveryReason.RELAY_REFUSED,
    ReplySubject.RELAYING: DeliveryReason.RELAYING_DENIED,
    ReplySubject.LOGIN: DeliveryReason.AUTH_REFUSED,
    ReplySubject.SETUP: DeliveryReason.RELAY_REFUSED,
}
"""A refusal with one of these subjects blames our settings, our host or our relay, also if it names a recipient."""


def judge_fault(fault: AttemptFault) -> DeliveryVerdict:
    """Decides what a fault means for the mail that was being sent.

    After the recipient was named, an answer that blames the relay or our settings may come from the recipient's server:
    relays ask it while we wait, and quote it. Such a mail is retried by itself, and it takes more evidence to stop the
    others (``CircuitBreaker``). A reply that blames the recipient or the message may be a fault of our settings, too:
    it counts once the relay is known to accept other mails (``blame``).
    """
    verdict = _judge_by_code(fault)
    if verdict.outcome in OPENING and fault.phase not in BEFORE_RCPT:
        return DeliveryVerdict(DeliveryOutcome.RETRY, verdict.reason, verdict.hint, suspect=verdict.outcome)
    if verdict.outcome is DeliveryOutcome.FAILED and fault.trouble is FaultKind.REPLY:
        return replace(verdict, suspect=DeliveryOutcome.CONFIGURATION)
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
    subject, hint = read_reply(fault.enhanced, fault.text), hinted_seconds(fault.text)
    if subject is ReplySubject.OUR_RATE and fault.code != 421:
        # Amazon SES: "454 Throttling failure: Maximum sending rate exceeded", at any step; this mail is not at fault.
        return DeliveryVerdict(DeliveryOutcome.RELAY_DOWN, DeliveryReason.THROTTLED, hint)
    if fault.code == 421 or fault.phase in (SmtpPhase.TLS, SmtpPhase.AUTH):
        return DeliveryVerdict(DeliveryOutcome.RELAY_DOWN, DeliveryReason.RELAY_BUSY, hint)
    if subject in OUR_REASONS:
        # Postfix: "454 4.7.1 Relay access denied", "450 4.1.8 Sender address rejected: Domain not found".
        return DeliveryVerdict(DeliveryOutcome.CONFIGURATION, OUR_REASONS[subject], hint)
    if fault.phase in BEFORE_MAIL:
        return DeliveryVerdict(DeliveryOutcome.RELAY_DOWN, DeliveryReason.RELAY_BUSY, hint)
    if subject is ReplySubject.SERVER:
        down = DeliveryOutcome.RELAY_DOWN
        return DeliveryVerdict(DeliveryOutcome.RETRY, DeliveryReason.DEFERRED, hint, suspect=down)
    full = subject is ReplySubject.MAILBOX_FULL
    reason = DeliveryReason.MAILBOX_FULL if full else DeliveryReason.DEFERRED
    return DeliveryVerdict(DeliveryOutcome.RETRY, reason, hint)


def _judge_permanent(fault: AttemptFault) -> DeliveryVerdict:
    subject, hint = read_reply(fault.enhanced, fault.text), hinted_seconds(fault.text)
    if fault.code in AUTH_CODES or fault.phase is SmtpPhase.AUTH:
        return DeliveryVerdict(DeliveryOutcome.CONFIGURATION, DeliveryReason.AUTH_REFUSED)
    if subject is ReplySubject.OUR_RATE:
        return DeliveryVerdict(DeliveryOutcome.RELAY_DOWN, DeliveryReason.THROTTLED, hint)
    ours = _our_reason(fault, subject)
    if ours is not None:
        return DeliveryVerdict(DeliveryOutcome.CONFIGURATION, ours)
    if subject in (ReplySubject.GREYLISTING, ReplySubject.MAILBOX_RATE):
        # Gmail: "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents …".
        return DeliveryVerdict(DeliveryOutcome.RETRY, DeliveryReason.DEFERRED, hint)
    if fault.code in SYNTAX_CODES:
        # The fault is ours. 503 means a wrong sequence, which a new connection may cure; the others would come again.
        return DeliveryVerdict(
            DeliveryOutcome.RETRY if fault.code == 503 else DeliveryOutcome.FAILED, DeliveryReason.PROTOCOL_ERROR
        )
    return _judge_refusal(fault, subject)


def _our_reason(fault: AttemptFault, subject: ReplySubject) -> DeliveryReason | None:
    """Returns the reason why a permanent refusal is for us to mend; None when it speaks of recipient or message."""
    if fault.phase in BEFORE_MAIL:
        return DeliveryReason.RELAY_REFUSED
    if subject in OUR_REASONS:
        return OUR_REASONS[subject]
    if fault.phase is SmtpPhase.MAIL and subject is not ReplySubject.MESSAGE:
        return DeliveryReason.SENDER_REFUSED
    return DeliveryReason.RELAY_REFUSED if subject is ReplySubject.SERVER else None


def _judge_refusal(fault: AttemptFault, subject: ReplySubject) -> DeliveryVerdict:
    """Decides about a 5xx reply that concerns this recipient or this message."""
    # A bare 552 means a full mailbox before the body, and a message that is too big after it (RFC 5321, 4.2.3).
    bare = fault.code == 552 and subject is ReplySubject.UNCLEAR and fault.phase is not SmtpPhase.BODY
    if subject is ReplySubject.MAILBOX_FULL or bare:
        return DeliveryVerdict(DeliveryOutcome.RETRY, DeliveryReason.MAILBOX_FULL)
    if subject is ReplySubject.POLICY:
        return DeliveryVerdict(DeliveryOutcome.FAILED, DeliveryReason.POLICY)
    if fault.phase is not SmtpPhase.RCPT or subject is ReplySubject.MESSAGE:
        return DeliveryVerdict(DeliveryOutcome.FAILED, DeliveryReason.MESSAGE_REJECTED)
    if fault.code in HARD_BOUNCE_CODES and subject is ReplySubject.NO_MAILBOX:
        return DeliveryVerdict(DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED)
    return DeliveryVerdict(DeliveryOutcome.FAILED, DeliveryReason.RECIPIENT_REFUSED)


ACCEPTED_LATELY: Final = timedelta(days=7)
"""A relay that accepted a mail within this time is believed when it says that a mailbox does not exist."""


class RelayEvidence(NamedTuple):
    """The facts that tell whether a relay works and refuses only some mails.

    Parameters:
      accepted_at: when the relay last accepted a mail, or None.
      doubted_at: when it last refused a mail for a reason that may be ours, or None.
      refused_at: when it first refused this mail for the same reason, or None.
      now: the time of the transaction.
    """

    accepted_at: datetime | None
    doubted_at: datetime | None
    refused_at: datetime | None
    now: datetime

    def accepted_after(self, moment: datetime | None) -> bool:
        return self.accepted_at is not None and (moment is None or self.accepted_at >= moment)


def blame(verdict: DeliveryVerdict, evidence: RelayEvidence, *, doubted: bool = False) -> DeliveryVerdict:
    """Returns the verdict, or sets the mail back while the fault may be ours: then the next mails would fail as well.

    A refusal that names no cause counts once the relay accepted another mail after it. An address that does not exist
    is believed at once of a relay that accepted a mail lately.

    Parameters:
      doubted: since the last mail that was accepted, the relay refused several recipients, one after the other.
    """
    if not verdict.blames:
        return verdict
    works = not doubted and evidence.accepted_after(evidence.doubted_at)
    again = evidence.refused_at is not None and evidence.accepted_after(evidence.refused_at)
    lately = evidence.accepted_after(evidence.now - ACCEPTED_LATELY)
    if works and (again or (lately and verdict.reason is DeliveryReason.ADDRESS_REJECTED)):
        return verdict
    return replace(verdict, outcome=DeliveryOutcome.RETRY)


_STEPS: dict[DeliveryOutcome, tuple[float, ...]] = {
    DeliveryOutcome.RELAY_DOWN: (10, 30, 120, 300),
    DeliveryOutcome.RETRY: (60, 300, 900, 1800, 3600),
    DeliveryOutcome.CONFIGURATION: (300, 900, 1800),
    DeliveryOutcome.UNCERTAIN: (900,),
}
LONGEST_HINT = 3600.0


def retry_delay(outcome: DeliveryOutcome, failures: int, jitter: float, hint: float | None = None) -> float:
    """Returns the seconds before the mail is tried again; the last step repeats.

    Parameters:
      failures: faults in a row with this outcome, this one included (1 is the first).
      jitter: a random number in [0, 1), so that mails postponed together do not come back together; it adds up to a
        fifth, and for an uncertain mail up to 15 minutes.
      hint: seconds the relay asked for (``DeliveryVerdict.hint``): a longer pause is respected up to one hour, a
        shorter one never.

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
        base = max(base, min(hint, LONGEST_HINT))
    return base * (1 + jitter / 5)
