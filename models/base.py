"""What every table shares: identifiers, times, names of constraints, and the working columns of owed work."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Table, text
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}
"""One rule names every constraint and index, so that an error names its rule and migrations can drop it."""

metadata = MetaData(naming_convention=NAMES)

HOT_TABLE = {"postgresql_with": {"fillfactor": 80, "autovacuum_vacuum_scale_factor": 0.02}}
"""Storage of tables whose rows change state often: room for in-page updates, vacuumed early."""


def new_id() -> UUID:
    """A new identifier: UUID version 7 (RFC 9562), so that rows are written in the order of their indexes."""
    return uuid7()


def instant(*, nullable: bool = False, default_now: bool = False) -> Any:
    """A column holding an instant (timestamptz).

    Parameters:
      default_now: a row that is not given one has the time of its transaction, by the clock of the database.
    """
    kwargs = {"server_default": text("now()")} if default_now else {}
    default: Any = None if nullable or default_now else ...
    return Field(default=default, nullable=nullable, sa_type=DateTime(timezone=True), sa_column_kwargs=kwargs)


class Record(SQLModel):
    """Root of the tables."""

    metadata = metadata

    if TYPE_CHECKING:
        __table__: ClassVar[Table]  # made by SQLModel of each class that says ``table=True``


class OwedWork(Record):
    """The working columns of anything owed (a job, a mail). ``workers/engine/ledger.py`` reads these and nothing else.

    Waiting: ``due_at`` set, no ``leased_until``. Running: ``leased_until`` set. Finished: neither.
    """

    queue: str
    lane: UUID  # work of one lane is claimed in turn with other lanes
    claim: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # the fence: grows at each claim
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # attempts that failed
    rescues: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # leases that ran out
    due_at: datetime | None = instant(nullable=True)
    leased_until: datetime | None = instant(nullable=True)
    worker: UUID | None = None  # the process that claimed it last
    created_at: datetime = instant(default_now=True)
    started_at: datetime | None = instant(nullable=True)
    finished_at: datetime | None = instant(nullable=True)
