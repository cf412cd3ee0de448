"""Inboxes: folders where files are dropped for a contract, and the rules that say what is done with a file there."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.words import LOCALES, Code, Policy

QUIET: Final = timedelta(seconds=50)
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


def concerns_us(name: str) -> bool:
    """Whether a file of a folder is one to import: not hidden, not one that says itself that it is being written."""
    return not name.startswith(_HIDDEN) and not name.lower().endswith(_UNFINISHED)


def is_settled(seen_at: datetime, now: datetime) -> bool:
    """Whether a file that has stayed the same since may be taken: nobody is writing it any more."""
    return now - seen_at >= QUIET


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
