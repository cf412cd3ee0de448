"""The Maildir behind the local mailbox: it writes fast and trusts nothing in the mails it reads."""

import contextlib
import itertools
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from pathlib import Path

MAIL_ID = re.compile(r"\d{19}\.\d+_\d+\.mailbox")
HEADERS_END = re.compile(rb"\r?\n\r?\n")
HEADERS_LIMIT = 256 * 1024


@dataclass(frozen=True)
class Summary:
    """The fields of a mail in the list. Texts are decoded; they are hostile until they are escaped."""

    id: str
    to: str
    sender: str
    subject: str
    date: str
    message_id: str
    recipients: tuple[str, ...]  # the recipients of the envelope

    @property
    def received_at(self) -> datetime:
        """The time the mailbox accepted the mail."""
        return datetime.fromtimestamp(int(self.id.partition(".")[0]) / 1e9, UTC)

    def is_to(self, address: str) -> bool:
        """Tells whether an address, or a part of one, is among the recipients."""
        return any(address.lower() in place.lower() for place in (self.to, *self.recipients))


@dataclass(frozen=True)
class StoredAttachment:
    """A MIME part that is not one of the two bodies."""

    name: str
    content_type: str
    size: int


@dataclass(frozen=True)
class Mail:
    """A parsed mail."""

    summary: Summary
    headers: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None
    attachments: tuple[StoredAttachment, ...]
    source: bytes


class MailFolder:
    """A Maildir with one file for each mail; the file names sort by time of arrival."""

    def __init__(self, folder: Path) -> None:
        self._tmp, self._new = folder / "tmp", folder / "new"
        for place in (folder, folder / "cur", self._tmp, self._new):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._count = itertools.count()
        self._known: dict[str, Summary] = {}
        self._lock = threading.Lock()

    def deliver(self, sender: str, recipients: Sequence[str], content: bytes) -> str:
        """Stores a mail under a new id. There is no fsync: a power cut can lose a mail, the end of a process cannot."""
        mail_id = f"{time.time_ns():019d}.{next(self._count)}_{os.getpid()}.mailbox"
        envelope = "".join([f"Return-Path: <{sender}>\r\n", *(f"Delivered-To: {to}\r\n" for to in recipients)])
        draft = self._tmp / mail_id
        draft.write_bytes(envelope.encode("utf-8", "surrogateescape") + content)
        draft.rename(self._new / mail_id)
        return mail_id

    def summaries(self, to: str = "") -> list[Summary]:
        """Returns all mails, newest first, or only those to an address (or a part of one)."""
        with self._lock:
            names = sorted(filter(MAIL_ID.fullmatch, os.listdir(self._new)), reverse=True)
            found = {name: self._known.get(name) or self._summary(name) for name in names}
            self._known = found
        return [summary for summary in found.values() if summary.is_to(to)]

    def source(self, mail_id: str) -> bytes | None:
        """Returns the bytes of a mail; None when the id is unknown or invalid."""
        if not MAIL_ID.fullmatch(mail_id):
            return None
        try:
            return (self._new / mail_id).read_bytes()
        except FileNotFoundError:
            return None

    def mail(self, mail_id: str) -> Mail | None:
        """Returns a parsed mail; None when the id is unknown."""
        source = self.source(mail_id)
        return None if source is None else _take_apart(mail_id, source)

    def _summary(self, mail_id: str) -> Summary:
        with (self._new / mail_id).open("rb") as file:
            start = file.read(HEADERS_LIMIT)
        return _summary(mail_id, BytesHeaderParser().parsebytes(HEADERS_END.split(start, maxsplit=1)[0]))


def _summary(mail_id: str, message: Message) -> Summary:
    return Summary(
        id=mail_id,
        to=_decoded(message.get("To", "")),
        sender=_decoded(message.get("From", "")),
        subject=_decoded(message.get("Subject", "")),
        date=_decoded(message.get("Date", "")),
        message_id=_decoded(message.get("Message-ID", "")).strip(),
        recipients=tuple(str(to) for to in message.get_all("Delivered-To", [])),
    )


def _take_apart(mail_id: str, source: bytes) -> Mail:
    message = message_from_bytes(source)
    bodies: dict[str, str] = {}
    attachments = []
    for part in _leaves(message):
        kind = part.get_content_type()
        payload = part.get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else b""
        if kind in {"text/plain", "text/html"} and kind not in bodies and part.get_content_disposition() is None:
            bodies[kind] = _text(content, part.get_content_charset("utf-8"))
        else:
            attachments.append(StoredAttachment(_decoded(part.get_filename("")) or "(no name)", kind, len(content)))
    return Mail(
        summary=_summary(mail_id, message),
        headers=tuple((name, _decoded(value)) for name, value in message.items()),
        text=bodies.get("text/plain"),
        html=bodies.get("text/html"),
        attachments=tuple(attachments),
        source=source,
    )


def _leaves(message: Message) -> Iterator[Message]:
    return (part for part in message.walk() if not part.is_multipart())


def _text(content: bytes, charset: str) -> str:
    try:
        return content.decode(charset, "replace")
    except LookupError:  # an unknown charset
        return content.decode("utf-8", "replace")


def _decoded(value: object) -> str:
    """Decodes a header; returns it unchanged when its encoding is broken."""
    text = str(value)
    with contextlib.suppress(HeaderParseError, LookupError, ValueError):
        text = str(make_header(decode_header(text)))
    return text.encode("utf-8", "replace").decode()
