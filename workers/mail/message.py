"""Builds the bytes that the relay gets from a rendered mail.

The standard library takes longer to build a message than a relay takes to accept one, and on the Python versions we
support it turns an encoded word in a name into a header of its own (CVE-2024-6923). So the few headers and parts we
use are written here. The headers that are the same for each mail of a sender are read back once: they must be exactly
those meant, each once. Each of the others is proven by its grammar to be one value on lines of its own.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from email.errors import MultipartInvariantViolationDefect
from email.message import Message
from email.parser import HeaderParser
from email.utils import format_datetime
from functools import lru_cache
from typing import NamedTuple

import idna

from models.address import parse_mailbox
from workers.errors import NotConfigured, Permanent
from workers.mail.attachments import MailAttachment
from workers.mail.renderer import RenderedMail
from workers.mail.values import BREAK, SENDABLE_ADDRESS, visible
from workers.settings import Settings

_MESSAGE_ID = re.compile(r"<[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,100}@[A-Za-z0-9.-]{1,253}>")
_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} (?:[+-][0-9:]{4,8}|GMT)")
_HEADER = re.compile(r"(?:[!-~][ -~]*(?:\r\n [!-~][ -~]*)*)?")  # a line, perhaps with more lines that go on with it
_FILENAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_CONTENT_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+")
_WORD_OCTETS = 45  # 60 characters of base64, 72 with the marks of an encoded word: below the 75 of RFC 2047
_PLAIN_HEADER = 60  # printable ASCII up to this length needs no encoding and no folding


@dataclass(frozen=True, slots=True)
class SenderIdentity:
    """The sender of our mails, read from the settings and checked once."""

    from_header: str
    reply_to: str
    envelope_from: str
    domain: str

    @classmethod
    def from_settings(cls, settings: Settings) -> "SenderIdentity":
        """Reads the sender. Raises: NotConfigured naming the setting that is no mail address."""
        sender = parse_mailbox(settings.mail_from)
        if sender is None:
            raise NotConfigured("MAIL_FROM is not exactly one mailbox; give one like Formation <formation@example.fr>")
        name, address = visible(sender.name), configured_address("MAIL_FROM", sender.address)
        return cls(
            from_header=f"{_encoded_phrase(name)} <{address}>" if name else address,
            reply_to=configured_address("MAIL_REPLY_TO", settings.mail_reply_to) if settings.mail_reply_to else "",
            envelope_from=configured_address("MAIL_BOUNCE_ADDRESS", settings.mail_bounce_address or address),
            domain=_ascii_domain("MESSAGE_ID_DOMAIN", settings.message_id_domain or address.rpartition("@")[2]),
        )

    def message_id(self, local: str) -> str:
        """Returns a Message-ID with angle brackets; ``local`` must be the same at each attempt (id and kind)."""
        return f"<{local}@{self.domain}>"


class EncodedMail(NamedTuple):
    """The content of a mail, with its two bodies encoded as quoted-printable lines that end in CRLF."""

    subject: str
    text: bytes
    html: bytes
    locale: str
    attachments: tuple[MailAttachment, ...] = ()


def build(
    rendered: RenderedMail, *, to_address: str, message_id: str, date: datetime, identity: SenderIdentity
) -> bytes:
    """Builds the message of a rendered mail; see `write_message`."""
    return write_message(encode(rendered), to_address=to_address, message_id=message_id, date=date, identity=identity)


def encode(rendered: RenderedMail) -> EncodedMail:
    """Encodes the text and the HTML of a rendered mail."""
    text, html = _encoded_body(rendered.text), _encoded_body(rendered.html)
    return EncodedMail(rendered.subject, text, html, rendered.locale, rendered.attachments)


def write_message(
    mail: EncodedMail, *, to_address: str, message_id: str, date: datetime, identity: SenderIdentity
) -> bytes:
    """Writes the message: 7-bit, CRLF, lines below 998 octets; the same arguments give the same bytes.

    Parameters:
      to_address: ASCII only (the domain already in its ``xn--`` form), without a display name.
      message_id: with angle brackets, fixed when the mail was owed.
      date: the moment when the mail was owed, with its time zone; the same at each attempt.

    Raises:
      Permanent: an address, identifier or file name cannot be put in a header, or the headers read back are not those
        that were meant.
    """
    _require(SENDABLE_ADDRESS.fullmatch(to_address), "the recipient's address cannot be written in a header")
    _require(_MESSAGE_ID.fullmatch(message_id), "the Message-ID is malformed")
    boundary = "=_" + hashlib.sha256(message_id.encode()).hexdigest()[:32]  # "=_" occurs in no encoded body
    content_type, body = _body(mail, boundary)
    to, subject, at, identifier, typed = _fixed_headers(identity, mail.locale)
    head = (
        f"{to}{to_address}{subject}{subject_header(mail.subject)}{at}{_date_header(date, date.tzinfo, date.fold)}"
        f"{identifier}{message_id}{typed}{content_type}\r\n\r\n"
    )
    return head.encode("ascii") + body


@lru_cache(maxsize=32)
def _fixed_headers(identity: SenderIdentity, locale: str) -> tuple[str, ...]:
    """Returns what stands before each value that changes from mail to mail, after reading all headers back."""
    headers: dict[str, str | None] = {  # None: the value changes
        "From": identity.from_header,
        "To": None,
        **({"Reply-To": identity.reply_to} if identity.reply_to else {}),
        "Subject": None,
        "Date": None,
        "Message-ID": None,
        "MIME-Version": "1.0",
        "Content-Language": locale,
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "Content-Type": None,
    }
    parts = [""]
    for name, value in headers.items():
        parts[-1] += f"{name}: "
        if value is None:
            parts.append("\r\n")
        else:
            parts[-1] += f"{value}\r\n"
    _check_headers("x".join(parts) + "\r\n", list(headers))
    return tuple(parts[:-1])


@lru_cache(maxsize=1024)
def _date_header(date: datetime, _zone: tzinfo | None, _fold: int) -> str:
    """Writes a date; equal moments of other zones, or of the hour that comes twice, are written otherwise."""
    written = format_datetime(date)
    _require(_DATE.fullmatch(written), "the date is malformed")
    return written


@lru_cache(maxsize=1024)
def subject_header(subject: str) -> str:
    """Writes a subject for its header. Those of one training are the same, because a subject names no person."""
    written = _encoded_text(visible(subject, kept=BREAK).replace("=?", "= ?"))
    _require(_HEADER.fullmatch(written), "the subject cannot be written in a header")
    return written


def _check_headers(written: str, meant: list[str]) -> None:
    """Reads the headers as a receiver would: there must be exactly those meant, and each once."""
    _require(written.isascii(), "a header of the message is not ASCII")
    parsed: Message = HeaderParser().parsestr(written)
    # Older Pythons (3.11.2 of Debian 12) miss the parts of a multipart message though only its headers were asked for.
    defects = [defect for defect in parsed.defects if not isinstance(defect, MultipartInvariantViolationDefect)]
    _require(parsed.keys() == meant and not defects, "the headers written are not those that were meant")
    _require(not parsed.get_payload(), "the headers end too early")


def _body(mail: EncodedMail, boundary: str) -> tuple[str, bytes]:
    alternative = _multipart(boundary, [_PLAIN_HEAD + mail.text, _HTML_HEAD + mail.html])
    alternative_type = f'multipart/alternative; boundary="{boundary}"'
    if not mail.attachments:
        return alternative_type, alternative
    outer = boundary + "-mixed"
    head = f"Content-Type: {alternative_type}\r\n\r\n".encode("ascii")
    parts = [head + alternative, *(_attached(attachment) for attachment in mail.attachments)]
    return f'multipart/mixed; boundary="{outer}"', _multipart(outer, parts)


def _multipart(boundary: str, parts: list[bytes]) -> bytes:
    mark = b"--" + boundary.encode("ascii")
    return b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


_TEXT_HEAD = 'Content-Type: text/{}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
_PLAIN_HEAD, _HTML_HEAD = (_TEXT_HEAD.format(subtype).encode("ascii") for subtype in ("plain", "html"))
_FILE_HEAD = (
    'Content-Type: {}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="{}"\r\n\r\n'
)


def _encoded_body(text: str) -> bytes:
    octets = text.encode("utf-8", "replace").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    encoded = binascii.b2a_qp(octets, istext=True)  # its line ends follow those of the text: make them one kind after
    return encoded.replace(b"\n", b"\r\n")


def _attached(attachment: MailAttachment) -> bytes:
    _require(_FILENAME.fullmatch(attachment.filename), "the name of an attached file cannot be written in a header")
    _require(_CONTENT_TYPE.fullmatch(attachment.content_type), "the type of an attached file is malformed")
    charset = '; charset="utf-8"' if attachment.content_type.startswith("text/") else ""
    head = _FILE_HEAD.format(attachment.content_type + charset, attachment.filename)
    return head.encode("ascii") + base64.encodebytes(attachment.content).replace(b"\n", b"\r\n")


def _encoded_text(text: str) -> str:
    """Writes unstructured text for a header: as it is when short and ASCII, else as RFC 2047 words, one a line."""
    if text.isascii() and len(text) <= _PLAIN_HEADER:
        return text
    words = (base64.b64encode(octets).decode("ascii") for octets in _pieces(text))
    return "\r\n ".join(f"=?utf-8?b?{word}?=" for word in words)


def _pieces(text: str) -> Iterator[bytes]:
    """Yields UTF-8 in pieces short enough for one encoded word, never cut inside a character (RFC 2047, section 5)."""
    octets = text.encode("utf-8", "replace")
    start = 0
    while start < len(octets):
        end = start + _WORD_OCTETS
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # the middle of a character
            end -= 1
        yield octets[start:end]
        start = end


def _encoded_phrase(name: str) -> str:
    """Writes a display name: in quotes when ASCII, else as encoded words."""
    if name.isascii() and len(name) <= _PLAIN_HEADER:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("=?", "= ?")
        return f'"{escaped}"'
    return _encoded_text(name)


def configured_address(setting: str, address: str) -> str:
    """Returns the address of a setting with its domain in ASCII. Raises: NotConfigured when it is none."""
    local, at, domain = address.strip().rpartition("@")
    address = f"{local}@{_ascii_domain(setting, domain)}" if at else ""
    if not SENDABLE_ADDRESS.fullmatch(address):
        raise NotConfigured(f"{setting} is not a mail address; give one like formation@example.fr")
    return address


def _ascii_domain(setting: str, domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as wrong:
        raise NotConfigured(f"{setting} has no valid domain") from wrong


def _require(condition: object, otherwise: str) -> None:
    if not condition:
        raise Permanent(otherwise)
