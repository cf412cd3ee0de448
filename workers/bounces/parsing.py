"""Reads the report about a delivery in a message; servers write it in many forms.

The standard library reads reports as RFC 3464 and RFC 5965 have them; flufl.bounce finds the recipients in those of
older servers, and a code is then looked for in the words beside. Nothing of the original message is kept: it holds the
link of a person. Parts of a message that is damaged, or made to be, are as if they were missing.
"""

import re
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from itertools import islice
from typing import Final

from models.address import normalise_email
from models.bounce import BounceKind, BounceReport, RecipientReport, quoted_answer
from models.words import Code
from workers.mail.faults import masked

MOST_BYTES: Final = 256 * 1024
"""Bytes that are read of a message; what servers say stands before the original."""

MOST_RECIPIENTS: Final = 20
_LONGEST_FIELD: Final = 1_000

MOST_PARTS: Final = 50
_PART: Final = re.compile(rb"content-type", re.IGNORECASE)
_GLOBAL: Final = re.compile(rb"message/global-(?=delivery-status)", re.IGNORECASE)  # RFC 6533; the same fields
_COMPLAINTS: Final = frozenset({"abuse", "fraud", "opt-out", "opt-out-list"})
_ABSENT: Final = re.compile(
    r"(?:automatic reply|automatische antwort|auto(?:matic|-|\s)?repl|auto:|autoreply|vacation|out of (?:the )?office"
    r"|(?:r[ée]ponse|notification|message) (?:automatique|d['’]absence)|absen(?:ce|t)|je suis absent|en cong[ée]s"
    r"|i am out|away from)",
    re.IGNORECASE,
)
_DELAYED: Final = re.compile(
    r"(?:\bdelay(?:ed)?\b|\bwarning\b|\bretard|still being retried|\bdiff[ée]r[ée]|temporarily)", re.IGNORECASE
)
_DAEMON: Final = re.compile(
    r"(?:mailer[-_. ]?daemon|postmaster|mail delivery|microsoftexchange|maildelivery|mta@)", re.IGNORECASE
)
_FAILURE: Final = re.compile(
    r"(?:undeliver|delivery (?:status|fail|notif)|failure notice|returned mail|mail delivery|non[ -]?remis|non distribu"
    r"|[ée]chec|could not be delivered|mail system error|returning message|nondeliverable)",
    re.IGNORECASE,
)


def read_report(raw: bytes) -> BounceReport:
    """Reads what a message says about a delivery; it never raises, however the message is made."""
    try:
        return _read(message_from_bytes(_GLOBAL.sub(b"message/", _bounded(raw))))
    except Exception:  # noqa: BLE001 - the parsers meet any bytes of any stranger; what they cannot read is no report
        return BounceReport(BounceKind.OTHER)


def _bounded(raw: bytes) -> bytes:
    """Returns the beginning of a message: parts within parts take the parser a time that grows with their square."""
    raw = raw[:MOST_BYTES]
    starts = islice(_PART.finditer(raw), MOST_PARTS, None)
    return next((raw[: found.start()] for found in starts), raw)


def _read(message: Message) -> BounceReport:
    parts: dict[str, Message] = {}
    for part in _own_parts(message, depth=0):
        parts.setdefault(part.get_content_type(), part)
    if (feedback := parts.get("message/feedback-report")) is not None:
        return _complaint(feedback)
    if (status := parts.get("message/delivery-status")) is not None and (found := _recipients(status)):
        return BounceReport(BounceKind.SOFT, found)
    if "message/disposition-notification" in parts:
        return BounceReport(BounceKind.AUTO_REPLY)
    return _without_fields(message)


def _own_parts(message: Message, depth: int) -> Iterator[Message]:
    """Yields the parts of a message, but none of an original that was sent back in it."""
    yield message
    if depth < 4 and message.get_content_maintype() == "multipart" and message.is_multipart():
        for part in list(message.get_payload())[:20]:
            if isinstance(part, Message):
                yield from _own_parts(part, depth + 1)


def _complaint(part: Message) -> BounceReport:
    fields = next(iter(_blocks(part)), part)
    kind = _field(fields, "Feedback-Type").lower() in _COMPLAINTS
    named = _addresses([_field(fields, "Original-Rcpt-To")])
    return BounceReport(
        BounceKind.COMPLAINT if kind else BounceKind.OTHER, (RecipientReport(named),) if kind and named else ()
    )


def _blocks(part: Message) -> list[Message]:
    """Returns the groups of fields of a part; the parser reads some kinds of parts as messages, others as text."""
    payload = part.get_payload()
    if isinstance(payload, list):
        return [one for one in payload if isinstance(one, Message)]
    text = _text(part)
    return [message_from_bytes(block.encode("utf-8", "replace")) for block in re.split(r"\r?\n[ \t]*\r?\n", text)]


def _recipients(part: Message) -> tuple[RecipientReport, ...]:
    found = (_recipient(block) for block in _blocks(part))
    return tuple(one for one in found if one is not None)[:MOST_RECIPIENTS]


def _recipient(fields: Message) -> RecipientReport | None:
    addresses = _addresses([_typed(fields, name) for name in ("Final-Recipient", "Original-Recipient")])
    action = _field(fields, "Action").split(maxsplit=1)
    if not addresses and not action and "Status" not in fields:
        return None  # the fields about the whole message
    words = masked(_without_links(_typed(fields, "Diagnostic-Code")))
    code, enhanced = quoted_answer(_typed(fields, "Diagnostic-Code"))
    status = re.match(r"\s*([245]\.\d{1,3}\.\d{1,3})\b", _field(fields, "Status"))
    # A status that says no more than its class is worth less than what the server itself said.
    exact = status[1] if status and not status[1].endswith(".0.0") else enhanced or (status[1] if status else None)
    if exact and code and str(code)[0] != exact[0]:
        exact = enhanced or exact
    return RecipientReport(addresses, action[0].lower() if action else "failed", code, exact, words)


def _without_fields(message: Message) -> BounceReport:
    """Reads a message without the fields of a report: by the marks of its server, or else by its words."""
    subject = _subject(message)
    if failed := _addresses(re.split(r"[,\s]+", _field(message, "X-Failed-Recipients"))):
        return BounceReport(BounceKind.SOFT, _by_words(message, failed))
    if _ABSENT.match(subject) or any(name in message for name in ("X-Autoreply", "X-Autorespond", "X-Vacation")):
        return BounceReport(BounceKind.AUTO_REPLY)
    if _is_of_a_server(message, subject):
        waiting, failed = _guess(message)
        if _DELAYED.search(subject) or (waiting and not failed):
            return BounceReport(BounceKind.DELAY)
        if failed:
            return BounceReport(BounceKind.SOFT, _by_words(message, failed))
        if _FAILURE.search(subject):
            return BounceReport(BounceKind.SOFT, (RecipientReport(()),))
    answered = _field(message, "Auto-Submitted").lower()
    return BounceReport(BounceKind.AUTO_REPLY if answered.startswith("auto-") else BounceKind.OTHER)


def _is_of_a_server(message: Message, subject: str) -> bool:
    if _field(message, "Return-Path").strip() == "<>" or _FAILURE.search(subject):
        return True
    return any(_DAEMON.search(_field(message, name)) for name in ("From", "Sender", "Return-Path"))


def _guess(message: Message) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the addresses that an older server says are delayed, and those it says have failed."""
    from flufl.bounce import all_failures  # noqa: PLC0415 - only reports of older servers need it

    waiting, failed = all_failures(message)
    return tuple(_addresses(sorted(one.decode("utf-8", "replace") for one in found)) for found in (waiting, failed))  # type: ignore[return-value]


def _by_words(message: Message, failed: Iterable[str]) -> tuple[RecipientReport, ...]:
    text = _first_text(message)
    return tuple(_by_words_beside(text, address) for address in failed)[:MOST_RECIPIENTS]


def _by_words_beside(text: str, address: str) -> RecipientReport:
    """Reads the answer that stands behind the first mention of an address, before the next one begins."""
    place = text.lower().find(address)
    beside = text[place + len(address) :] if place >= 0 else text
    beside = re.split(r"\n[ \t]*<?[\w.+-]+@[\w.-]+>?:", beside, maxsplit=1)[0][:_LONGEST_FIELD]
    code, enhanced = quoted_answer(beside)
    return RecipientReport((address,), "failed", code, enhanced, masked(_without_links(beside)))


_ORIGINAL: Final = re.compile(
    r"^(?:(?:return-path|received|dkim-signature|message-id|mime-version):|.*\b(?:copy of (?:the|your|this) message"
    r"|original message|message (?:text|follows|body)|unsent message|message d['’]origine|(?:original|returned) mail"
    r"|headers? (?:of|follow))\b)",
    re.IGNORECASE | re.MULTILINE,
)


def _first_text(message: Message) -> str:
    """Returns the words of the server, up to where the original begins."""
    for part in _own_parts(message, depth=0):
        if part.get_content_maintype() == "text":
            text = _text(part)
            if part.get_content_subtype() == "html":
                text = re.sub(r"<[^<>@]{0,500}>", " ", text)
            original = _ORIGINAL.search(text)
            return text[: original.start()] if original else text
    return ""


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    octets = payload[: 16 * 1024] if isinstance(payload, bytes) else b""
    return octets.decode("utf-8", "replace")


def _subject(message: Message) -> str:
    given = _field(message, "Subject")
    try:
        return str(make_header(decode_header(given)))[:_LONGEST_FIELD].strip()
    except (ValueError, LookupError):  # a broken encoded word, an unknown character set
        return given


def _field(message: Message, name: str) -> str:
    return " ".join(str(message.get(name, ""))[:_LONGEST_FIELD].split())


def _typed(fields: Message, name: str) -> str:
    """Returns the value of a field without the type before it, as in `rfc822; a@b.fr`."""
    value = _field(fields, name)
    return re.sub(r"^[A-Za-z0-9-]{1,40}\s*;\s*", "", value)


def _addresses(given: Iterable[str]) -> tuple[str, ...]:
    read = (normalise_email(one) for one in given if one)
    return tuple(dict.fromkeys(one for one in read if not isinstance(one, Code)))[:MOST_RECIPIENTS]


def _without_links(text: str) -> str:
    return re.sub(r"(?i)\bhttps?://\S+", "(link)", text)
