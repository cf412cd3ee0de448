"""Turns errors of the SMTP client into faults that ``models.delivery`` can judge."""

import re
import ssl
import unicodedata

from aiosmtplib import (
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from models.delivery import AttemptFault, FaultKind, SmtpPhase
from workers.errors import MatriculeError

_ENHANCED = re.compile(r"\s*#?([245]\.\d{1,3}\.\d{1,3})\b")  # some servers write "550 #5.1.0"
_ADDRESS = re.compile(r"[^\s<>\"'(),:;=]+@[^\s<>\"'(),:;]+")
_LONGEST_TEXT = 300
# The order matters: a timeout of the client is an OSError too, and so is each of its connection errors.
_FAULT_KINDS: tuple[tuple[type[Exception], FaultKind], ...] = (
    (TimeoutError, FaultKind.TIMEOUT),
    (OSError, FaultKind.LOST),
    (SMTPException, FaultKind.UNSUPPORTED),
)
# The client raises ValueError for an address it refuses to write, and for a challenge of the relay it cannot read.
_FAULTS_OF_VALUES = {SmtpPhase.RCPT: FaultKind.INVALID, SmtpPhase.AUTH: FaultKind.GARBLED}


class DeliveryFault(MatriculeError):
    """An attempt to deliver one mail that did not end in 250. ``models.delivery.judge_fault`` says what to do."""

    def __init__(self, fault: AttemptFault) -> None:
        words = (fault.phase, fault.trouble, fault.code, fault.enhanced, fault.text)
        super().__init__(" ".join(str(word) for word in words if word))
        self.fault = fault


def fault_from(error: Exception, phase: SmtpPhase) -> AttemptFault | None:
    """Returns the fault behind an exception of aiosmtplib or of the system; None for any other (a bug of ours).

    The text of an answer often names the recipient. Mail addresses in it are masked, because it is written to logs.
    """
    if isinstance(error, SMTPRecipientsRefused):
        return fault_from(error.recipients[0], phase)
    if isinstance(error, SMTPResponseException):
        return fault_of_reply(error.code, error.message, phase)
    trouble = _fault_kind(error, phase)
    if trouble is None:
        return None
    # The text of a ValueError quotes the address; other texts are words of aiosmtplib and of the system.
    words = "" if isinstance(error, ValueError) and not isinstance(error, OSError) else masked(str(error))
    return AttemptFault(phase, text=words, trouble=trouble)


def _fault_kind(error: Exception, phase: SmtpPhase) -> FaultKind | None:
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return FaultKind.TLS
    for kind, trouble in _FAULT_KINDS:
        if isinstance(error, kind):
            return trouble
    return _FAULTS_OF_VALUES.get(phase) if isinstance(error, ValueError) else None


def fault_of_reply(code: int, message: str, phase: SmtpPhase) -> AttemptFault:
    """Returns the fault of an answer of the relay; aiosmtplib gives the code -1 to bytes that are no answer."""
    text = masked(message)
    if not 200 <= code <= 599:
        return AttemptFault(phase, text=text, trouble=FaultKind.GARBLED)
    found = _ENHANCED.match(message)
    return AttemptFault(phase, code, found[1] if found else None, text)


def masked(text: str) -> str:
    """Returns the text on one line, printable, short and without mail addresses."""
    line = " ".join(text.split())
    if not line.isprintable():
        known = line.encode("utf-8", "replace").decode("utf-8")
        line = "".join(c for c in known if not unicodedata.category(c).startswith("C"))
    return (_ADDRESS.sub("(address)", line) if "@" in line else line)[:_LONGEST_TEXT]
