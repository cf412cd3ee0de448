"""These rules decide what a report about a mail means: that its address is dead, or less than that.

A report comes days after the relay took the mail, from any server of the world. An address is given up only when a code
or words prove that its mailbox or its domain does not exist; everything else is noted (RFC 3464, RFC 3463).
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from models.delivery import DeliveryReason
from models.replies import ReplySubject, read_reply
from models.words import EmailState, StoredWord


class BounceKind(StrEnum):
    """The meaning of a mail that came back to a return address."""

    HARD = "hard"  # the mailbox or its domain does not exist
    SOFT = "soft"  # not delivered, for another reason or for none that is told
    COMPLAINT = "complaint"  # the recipient called the mail spam (RFC 5965)
    DELAY = "delay"  # not delivered yet, and tried again
    AUTO_REPLY = "auto_reply"  # an absence, a receipt (RFC 3834)
    OTHER = "other"  # no report about a delivery that failed


COUNTED: Final = frozenset({BounceKind.HARD, BounceKind.SOFT, BounceKind.COMPLAINT})
"""The kinds that change something."""


class RecipientReport(NamedTuple):
    """The part of a report about one recipient.

    Parameters:
      addresses: the address the server tried, and the one the mail was sent to, where they are told.
      action: `failed`, `delayed`, `delivered`, `relayed` or `expanded` (RFC 3464, 2.3.3), or nothing.
      code: the reply code that the report quotes.
      enhanced: its status (RFC 3463).
      words: the words of the server on one line, masked.
    """

    addresses: tuple[str, ...]
    action: str = "failed"
    code: int | None = None
    enhanced: str | None = None
    words: str = ""

    @property
    def status(self) -> str:
        """The most exact code that is known."""
        return self.enhanced or (str(self.code) if self.code else "")

    @property
    def is_permanent(self) -> bool:
        """Whether the last answer of a server was final; a report that gives up after days often quotes none."""
        classes = {str(one)[0] for one in (self.code, self.enhanced) if one}
        return classes == {"5"}


class BounceReport(NamedTuple):
    """A report about a mail. Of a failure, `recipients` say what each means; otherwise `kind` says it."""

    kind: BounceKind
    recipients: tuple[RecipientReport, ...] = ()


class BounceVerdict(NamedTuple):
    """The meaning of a report for one mail.

    Parameters:
      recipient: the address that the report names, if it names one.
      reason: a word of ``DeliveryReason``; of a complaint nothing.
    """

    kind: BounceKind
    recipient: str = ""
    status: str = ""
    reason: DeliveryReason | None = None
    words: str = ""


_ANSWER: Final = re.compile(
    r"(?<![\d.])([245]\d\d)(?![\d.])(?:[ \t:;-]{0,3}#?([245]\.\d{1,3}\.\d{1,3})(?![\d.]))?"
    r"|(?<![\d.])#?([245]\.\d{1,3}\.\d{1,3})(?![\d.])"
)


def quoted_answer(text: str) -> tuple[int | None, str | None]:
    """Returns the reply code and the enhanced code that a text quotes; None for what it does not have.

    The first failure counts: reports also quote the numbers of ports, lines and days, which look like codes.
    """
    code = enhanced = None
    for found in _ANSWER.finditer(text):
        if found[1] and code is None and not found[1].startswith("2"):
            code = int(found[1])
            enhanced = enhanced or found[2]
        elif found[3] and enhanced is None and not found[3].startswith("2"):
            enhanced = found[3]
    return code, enhanced


_NO_DOMAIN: Final = re.compile(
    r"\b(?:host(?: or domain(?: name)?)?|domain(?: name)?|name service error)\b[^.;]{0,60}\b(?:not found|unknown"
    r"|(?:does not|doesn't) exist|no such)|unknown (?:mail )?host|no such (?:host|domain)|nxdomain"
    r"|does not accept mail|null ?mx",
    re.IGNORECASE,
)
_NO_DOMAIN_CODES: Final = frozenset({"5.1.2", "5.1.10", "5.4.4"})
_UNDECIDED: Final = frozenset({ReplySubject.UNCLEAR, ReplySubject.NO_MAILBOX, ReplySubject.SERVER})

_REASONS: Final = {
    ReplySubject.MAILBOX_FULL: DeliveryReason.MAILBOX_FULL,
    ReplySubject.POLICY: DeliveryReason.POLICY,
    ReplySubject.MESSAGE: DeliveryReason.MESSAGE_REJECTED,
    ReplySubject.SENDER: DeliveryReason.SENDER_REFUSED,
    ReplySubject.CLIENT: DeliveryReason.RELAY_REFUSED,
    ReplySubject.RELAYING: DeliveryReason.RELAYING_DENIED,
}
_KINDS: Final = {
    "delayed": BounceKind.DELAY,
    "delivered": BounceKind.OTHER,
    "relayed": BounceKind.OTHER,
    "expanded": BounceKind.OTHER,
}


def judge_report(report: BounceReport, to_address: str | None = None) -> BounceVerdict:
    """Decides what a report means for the mail to an address.

    A report that names other recipients only proves nothing about ours: a mailbox that forwards has one of its own. It
    is noted.

    Parameters:
      to_address: the normalised address of the mail; None takes the first recipient of the report.
    """
    if not report.recipients:
        return BounceVerdict(report.kind)
    ours = _of_address(report.recipients, to_address)
    verdict = _judge(report.kind, ours or report.recipients[0])
    if ours is None and verdict.kind is BounceKind.HARD:
        return verdict._replace(kind=BounceKind.SOFT, reason=DeliveryReason.RECIPIENT_REFUSED)
    return verdict


def _of_address(recipients: Sequence[RecipientReport], address: str | None) -> RecipientReport | None:
    """Returns the part about this address; one without any address is taken to be about it."""
    named = (one for one in recipients if address is None or not one.addresses or address in one.addresses)
    return next(named, None)


def _judge(kind: BounceKind, one: RecipientReport) -> BounceVerdict:
    recipient = one.addresses[0] if one.addresses else ""
    if kind is not BounceKind.SOFT:
        return BounceVerdict(kind, recipient, one.status)
    if one.action in _KINDS:
        return BounceVerdict(_KINDS[one.action], recipient, one.status)
    reason = _reason(one)
    hard = reason is DeliveryReason.ADDRESS_REJECTED
    return BounceVerdict(BounceKind.HARD if hard else BounceKind.SOFT, recipient, one.status, reason, one.words)


def _reason(one: RecipientReport) -> DeliveryReason:
    subject = read_reply(one.enhanced, one.words)
    if not one.is_permanent:
        return DeliveryReason.MAILBOX_FULL if subject is ReplySubject.MAILBOX_FULL else DeliveryReason.DEFERRED
    no_domain = one.enhanced in _NO_DOMAIN_CODES or _NO_DOMAIN.search(one.words) is not None
    if subject is ReplySubject.NO_MAILBOX or (no_domain and subject in _UNDECIDED):
        return DeliveryReason.ADDRESS_REJECTED
    return _REASONS.get(subject, DeliveryReason.RECIPIENT_REFUSED)


class BounceEffect(StoredWord):
    """The consequence of a report for its mail."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    NOTED = "noted"  # the mail stays sent
    TOO_EARLY = "too_early"  # the mailer is about to record that it was sent: look again in a moment
    NOTHING = "nothing"  # it says nothing about a delivery, its mail is not one that was sent, or it was counted before


_EFFECTS: Final = {
    BounceKind.HARD: BounceEffect.BOUNCED,
    BounceKind.SOFT: BounceEffect.NOTED,
    BounceKind.COMPLAINT: BounceEffect.COMPLAINED,
}


def decide_effect(kind: BounceKind, state: str, *, noted: bool) -> BounceEffect:
    """Decides what a report changes: each thing counts once, and only of a mail that was sent.

    A report proves that a relay took the mail, also where the connection was lost before it said so.

    Parameters:
      state: the state of the mail.
      noted: whether a failure of it was noted before.
    """
    if kind not in COUNTED:
        return BounceEffect.NOTHING
    if state == EmailState.SENDING:
        return BounceEffect.TOO_EARLY
    if state not in (EmailState.SENT, EmailState.UNCERTAIN):
        return BounceEffect.NOTHING
    return BounceEffect.NOTHING if kind is BounceKind.SOFT and noted else _EFFECTS[kind]
