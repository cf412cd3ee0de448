"""A roster file comes through an inbox or a request, is kept while it is needed, and is imported by a job."""

import hashlib
import re
import unicodedata
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint, text
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.label import BIDI_CONTROL, SURROGATES
from models.words import LOCALES, Code, Policy

SETTLED_AFTER: Final = timedelta(seconds=50)
"""A file must stay the same for this long: scans are a minute apart, and exports are written in one go."""

_UNFINISHED: Final = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".swp", ".writing")
_HIDDEN: Final = (".", "~", "_")

LONGEST_NAME: Final = 180
"""The most bytes of a file's name that its reports keep: a name of 255 leaves no room for what is added to it."""

UPLOAD_NAME_BYTES: Final = 16
"""The length of the name of a file that is still arriving; that of a file that is kept is its SHA-256, 32 bytes."""

_NO_TEXT: Final = re.compile(f"[{SURROGATES}]")
_HARMFUL: Final = re.compile(f"[\x00-\x1f\x7f-\x9f/\u2028\u2029{BIDI_CONTROL}]")


class Inbox(Record, table=True):
    """A folder watched for one contract. An operator sets it up: its address may be any place this system can read."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("portal_id", "reference"),
        CheckConstraint("most_changed_percent > 0", name="most_changed"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    portal_id: UUID = Field(foreign_key="portal.id")
    reference: str
    contract: str  # the portal's reference of it
    url: str  # as fsspec reads it, without a password
    policy: str = Policy.UNTIL_FULL
    notify: bool = True
    report_to: str | None = None
    report_locale: str = LOCALES[0]
    most_changed_percent: int | None = None  # a file that would add more people is refused; None: no limit
    full_sync: bool = False  # report participants who are missing from the file
    paused: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    created_at: datetime = instant(default_now=True)
    scanned_at: datetime | None = instant(nullable=True)
    trouble: str | None = None  # why the folder could not be read: the class of an error, never its message
    expected: str | None = None  # when a file is expected: a cron expression in Europe/Paris; None: at no time
    grace_seconds: int = Field(default=3_600, sa_column_kwargs={"server_default": "3600"})  # how late it may come
    expected_since: datetime | None = instant(nullable=True)  # files are expected from then on
    arrived_at: datetime | None = instant(nullable=True)  # when a file was last seen that was not there before


class InboxFile(Record, table=True):
    """One version of a file that was seen in an inbox."""

    __tablename__ = "inbox_file"
    __table_args__ = (
        Index(
            "ix_inbox_file_trouble",
            "inbox_id",
            postgresql_where=text("trouble IS NOT NULL AND put_away_at IS NULL"),
        ),
    )

    inbox_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True)
    version: str = Field(primary_key=True)  # its size and time, as the folder reports them
    seen_at: datetime = instant(default_now=True)
    job_id: UUID | None = None  # the import, or the dry run before it
    dry_run: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    refused: str | None = None  # the code that says why it was not imported at all
    trouble: str | None = None  # why its last step failed: the class of an error, never its message
    put_away_at: datetime | None = instant(nullable=True)


def is_dropped_file(name: str) -> bool:
    """Whether a file of a folder is to be imported: its name is neither hidden nor that of an unfinished file."""
    return not name.startswith(_HIDDEN) and not name.lower().endswith(_UNFINISHED)


def storable_name(name: str) -> str:
    """Returns the name of a file as the database can keep it: one that holds bytes that are no text gets another.

    Such bytes come as halves of surrogate pairs. Each is shown as U+FFFD, and a hash of the name keeps apart two files
    that would then be called the same.
    """
    shown = _NO_TEXT.sub("\ufffd", name)
    if shown == name:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    stem, suffix = _stem_and_suffix(shown)
    return f"{stem}~{digest}{suffix}"


def name_put_away(name: str, version: str, seen_at: datetime) -> str:
    """Returns the name under which a file is put away, without the characters that harm a terminal or a path.

    It begins with the time and a hash, because two files of one name may come in a second, and two long names may have
    the same beginning. A long name loses characters before its suffix.
    """
    digest = hashlib.sha256(f"{version}\n{name}".encode()).hexdigest()[:6]
    stem, suffix = _stem_and_suffix(_HARMFUL.sub("_", name))
    return f"{seen_at:%Y%m%dT%H%M%S}-{digest}-{_beginning(stem, LONGEST_NAME - len(suffix.encode()))}{suffix}"


def _stem_and_suffix(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem and len(suffix) <= 8 else (name, "")


def _beginning(text: str, size: int) -> str:
    """Returns the longest beginning of at most so many bytes that splits no character from its accents."""
    kept = text.encode()[:size].decode("utf-8", "ignore")
    while kept and len(kept) < len(text) and unicodedata.combining(text[len(kept)]):
        kept = kept[:-1]
    return kept


def is_settled(seen_at: datetime, now: datetime) -> bool:
    """Whether a file that has stayed the same since may be taken, because it is no longer being written."""
    return now - seen_at >= SETTLED_AFTER


def too_many_changes(joining: int, participants: int, most_changed_percent: int | None) -> Code | None:
    """Refuses a file that would add more people than usual; the first file of a contract is always accepted.

    Parameters:
      joining: people whom the file would enrol.
      participants: people who are enrolled now.
      most_changed_percent: the largest accepted share of the participants, or None for no limit.
    """
    if most_changed_percent is None or participants == 0:
        return None
    return Code.TOO_MANY_CHANGES if joining * 100 > participants * most_changed_percent else None


class RosterFile(Record, table=True):
    """A portal's file, known by its content: the same file dropped twice is kept once.

    While it arrives over HTTP, its parts have a random name of 16 bytes (``workers/imports/uploads.py``).
    Each portal has a copy of its own, so that the hash of another portal's file gives no access to it.
    """

    __tablename__ = "roster_file"

    portal_id: UUID = Field(primary_key=True)
    sha256: bytes = Field(primary_key=True, sa_type=LargeBinary)
    size: int  # bytes
    created_at: datetime = instant(default_now=True)
    used_at: datetime = instant(default_now=True)  # when it was last asked for; retention counts from here


class RosterPart(Record, table=True):
    """A megabyte of a file, which is written and read as a stream and never held as a whole."""

    __tablename__ = "roster_part"
    __table_args__ = (
        ForeignKeyConstraint(
            ["portal_id", "sha256"], ["roster_file.portal_id", "roster_file.sha256"], ondelete="CASCADE"
        ),
    )

    portal_id: UUID = Field(primary_key=True)
    sha256: bytes = Field(primary_key=True, sa_type=LargeBinary)
    number: int = Field(primary_key=True)
    content: bytes = Field(sa_type=LargeBinary)


class RosterImport(Record, table=True):
    """The import of one file: the facts that its job needs beside the request."""

    __tablename__ = "roster"
    __table_args__ = (Index("ix_roster_fingerprint", "portal_id", "fingerprint"),)

    job_id: UUID = Field(primary_key=True)
    portal_id: UUID
    fingerprint: bytes = Field(sa_type=LargeBinary)  # of the request: its file, contract and options
    sha256: bytes = Field(sa_type=LargeBinary)
    file_name: str
    reading: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # how the file was understood
    rows: int | None = None  # below the header, blank ones left out
    cancelled_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


class RosterAddress(Record, table=True):
    """The hash of an address that a job has accepted: a later row with the same address is a duplicate.

    It is deleted when the job finishes, or with the file when the job gave up.
    """

    __tablename__ = "roster_address"

    job_id: UUID = Field(primary_key=True)
    address: UUID = Field(primary_key=True)
    line: int | None = None  # of the row that has it; None in rows that an earlier version wrote


class ImportProgress(NamedTuple):
    """The progress of an import, as its job shows it.

    Parameters:
      rows: rows of the file below its header; None before the file was read.
      rows_done: rows done so far.
      percent: the share of rows done, rounded down: 100 means all of them.
      seconds_left: the time left at the pace so far; None while no pace is known, or when the import ended early.
    """

    rows: int | None
    rows_done: int
    percent: int | None
    seconds_left: int | None


def measure_import(rows: int | None, rows_done: int, seconds: float | None, *, finished: bool) -> ImportProgress:
    """Returns the progress of an import that has run for so many seconds (None before its start).

    An import that ended early, for example because it was cancelled, has no time left.
    """
    if rows is None:
        return ImportProgress(None, rows_done, None, None)
    done = min(rows_done, rows)
    percent = 100 if rows == 0 else done * 100 // rows
    left = rows - done
    if left == 0:
        return ImportProgress(rows, done, percent, 0)
    if finished or done == 0 or not seconds or seconds < 0:
        return ImportProgress(rows, done, percent, None)
    return ImportProgress(rows, done, percent, -(-int(seconds * left * 1_000 // done) // 1_000))
