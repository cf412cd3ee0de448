"""The clock makes requests on a schedule; these tables name the schedules, the live processes and the leading clock."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON
from sqlmodel import Field

from models.base import Record, instant, new_id


class Schedule(Record, table=True):
    """A request made at fixed times (cron expression in Europe/Paris); one job per slot, however many clocks run."""

    __tablename__ = "schedule"

    name: str = Field(primary_key=True)
    cron: str
    kind: str
    request: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
    next_run_at: datetime | None = instant(nullable=True)
    last_run_at: datetime | None = instant(nullable=True)
    paused: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})


class Process(Record, table=True):
    """A process of Matricule that said it was alive at `seen_at`.

    `trouble` says why it does no work although it lives: the code of an error of Redis, or a word of its watchdog.
    `circuit_reason` says why its circuit breaker leaves the relay alone, until `circuit_until`; None when it does not.
    `drain_asked_at` says since when an operator lets it take nothing new, `drained_at` since when it holds nothing.
    """

    __tablename__ = "process"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    kind: str
    host: str
    pid: int
    started_at: datetime = instant(default_now=True)
    seen_at: datetime = instant(default_now=True)
    trouble: str | None = None
    release: str = Field(default="", sa_column_kwargs={"server_default": ""})  # the version of Matricule it runs
    circuit_until: datetime | None = instant(nullable=True)
    circuit_reason: str | None = None  # a word of ``DeliveryReason``
    drain_asked_at: datetime | None = instant(nullable=True)
    drain_by: str | None = None
    drain_reason: str | None = None
    drain_stop: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})  # it ends once it is drained
    drained_at: datetime | None = instant(nullable=True)


class Clock(Record, table=True):
    """The one row names the clock that leads, and the end of its lease. Another clock takes over after that.

    `set_back_at` says when the clock of the database was last found to have been ahead, `set_back_seconds` by how much.
    """

    __tablename__ = "clock"

    name: str = Field(primary_key=True)
    holder: UUID
    until: datetime = instant()
    set_back_at: datetime | None = instant(nullable=True)
    set_back_seconds: float | None = None
