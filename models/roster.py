"""Roster files: the inboxes they are dropped in, their bytes while they are needed, and how far their import is."""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, ForeignKeyConstraint, Index, LargeBinary, UniqueConstraint
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.words import LOCALES, Code, Policy

SETTLED_AFTER: Final = timedelta(seconds=50)
"""How long a file must have stayed the same: scans are a minute apart, and exports are written in one go."""

_UNFINISHED: Final = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".swp", ".writing")
_HIDDEN: Final = (".", "~", "_")


class Inbox(Record, table=True):
    """A folder watched for one contract. Set up by ops: its address may name any place this system can read."""

    __tablename__ = "inbox"
    __table_args__ = (
        UniqueConstraint("portal_id", "reference"),
        CheckConstraint("most_changed_percent > 0", name="most_changed"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    portal_id: UUID = Field(foreign_key="portal.id")
    reference: str
    contract: str  # the portal's reference
    url: str  # as fsspec reads it, without a password
    policy: str = Policy.UNTIL_FULL
    notify: bool = True
    report_to: str | None = None
    report_locale: str = LOCALES[0]
    most_changed_percent: int | None = None  # a file that would add more of the participants is refused; None: any
    full_sync: bool = False  # report participants that are missing from the file
    paused: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    created_at: datetime = instant(default_now=True)
    scanned_at: datetime | None = instant(nullable=True)
    trouble: str | None = None  # why the last scan could not read it: the class of an error, never its words


class InboxFile(Record, table=True):
    """A file that was seen in an inbox, in one version of it."""

    __tablename__ = "inbox_file"

    inbox_id: UUID = Field(primary_key=True)
    name: str = Field(primary_key=True)
    version: str = Field(primary_key=True)  # its size and time, as the folder tells them
    seen_at: datetime = instant(default_now=True)
    job_id: UUID | None = None  # the import, or the dry run before it
    dry_run: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    refused: str | None = None  # why it was not imported at all: a code
    put_away_at: datetime | None = instant(nullable=True)


def is_dropped_file(name: str) -> bool:
    """Whether a file of a folder is one to import: not hidden, not one that says itself that it is being written."""
    return not name.startswith(_HIDDEN) and not name.lower().endswith(_UNFINISHED)


def is_settled(seen_at: datetime, now: datetime) -> bool:
    """Whether a file that has stayed the same since may be taken: nobody is writing it any more."""
    return now - seen_at >= SETTLED_AFTER


def too_many_changes(joining: int, participants: int, most_changed_percent: int | None) -> Code | None:
    """Why a file is refused that would add more people than is usual; the first file of a contract may.

    Parameters:
      joining: people it would enrol.
      participants: who is enrolled now.
      most_changed_percent: of the participants, or None for no bound.
    """
    if most_changed_percent is None or participants == 0:
        return None
    return Code.TOO_MANY_CHANGES if joining * 100 > participants * most_changed_percent else None


class RosterFile(Record, table=True):
    """A file of a portal by its content: the same file dropped twice is kept once.

    Each portal has its own: to know the hash of another's file is not enough to read it.
    """

    __tablename__ = "roster_file"

    portal_id: UUID = Field(primary_key=True)
    sha256: bytes = Field(primary_key=True, sa_type=LargeBinary)
    size: int  # bytes
    created_at: datetime = instant(default_now=True)
    used_at: datetime = instant(default_now=True)  # when it was last asked for; retention counts from here


class RosterPart(Record, table=True):
    """A megabyte of a file: it is written and read as a stream, never held as a whole."""

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
    """The import of one file: what its job needs beside the request."""

    __tablename__ = "roster"
    __table_args__ = (Index("ix_roster_fingerprint", "portal_id", "fingerprint"),)

    job_id: UUID = Field(primary_key=True)
    portal_id: UUID
    fingerprint: bytes = Field(sa_type=LargeBinary)  # of the request: the same file on the same contract, same options
    sha256: bytes = Field(sa_type=LargeBinary)
    file_name: str
    reading: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # what was understood
    rows: int | None = None  # below the header, blank ones left out
    cancelled_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant(default_now=True)


class RosterAddress(Record, table=True):
    """An address a job has accepted, as a hash: a later row with it is a duplicate. Gone when the job is finished;
    of one that gave up, with its file.
    """

    __tablename__ = "roster_address"

    job_id: UUID = Field(primary_key=True)
    address: UUID = Field(primary_key=True)


class ImportProgress(NamedTuple):
    """As a job shows it.

    Parameters:
      rows: of the file, below its header; None before it was looked at.
      rows_done: dealt with so far.
      percent: of the rows, rounded down: 100 means all of them.
      seconds_left: at the pace so far; None while there is none to go by, or when it ended before all was done.
    """

    rows: int | None
    rows_done: int
    percent: int | None
    seconds_left: int | None


def measure_import(rows: int | None, rows_done: int, seconds: float | None, *, finished: bool) -> ImportProgress:
    """The progress of a job that has been at work for so many seconds; None when it was not begun.

    What ended early, because it was cancelled for one, has no time left to wait for.
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
