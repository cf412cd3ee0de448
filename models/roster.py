"""Roster files: their bytes while they are needed, the jobs that import them, the addresses a job has met."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKeyConstraint, Index, LargeBinary
from sqlmodel import Field

from models.base import Record, instant


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
