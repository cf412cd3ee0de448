"""All tables share these identifiers, times and names of constraints; owed work shares its working columns."""

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
"""One rule names every constraint and index: an error then names its rule, and a migration can drop it."""

metadata = MetaData(naming_convention=NAMES)

HOT_TABLE = {"postgresql_with": {"fillfactor": 80, "autovacuum_vacuum_scale_factor": 0.02}}
"""A table with rows that change state often is stored with room for in-page updates and is vacuumed early."""


def new_id() -> UUID:
    """Returns a UUID version 7 (RFC 9562): rows with such identifiers are inserted at the end of their indexes."""
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
    """Every table derives from this class, which carries the naming rule."""

    metadata = metadata

    if TYPE_CHECKING:
        __table__: ClassVar[Table]  # made by SQLModel of each class that says ``table=True``


class OwedWork(Record):
    """The working columns of owed work (a job, a mail); ``workers/engine/ledger.py`` reads no other columns.

    Waiting work has ``due_at`` and no ``leased_until``, running work has ``leased_until``, finished work has neither.
    """

    queue: str
    lane: UUID  # the lanes of a queue are claimed in turn
    claim: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # the fencing token: grows at each claim
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # attempts that failed
    rescues: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # leases that ran out
    postponements: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # in a row, up to now
    postponed_at: datetime | None = instant(nullable=True)  # the first of these
    due_at: datetime | None = instant(nullable=True)
    leased_until: datetime | None = instant(nullable=True)
    worker: UUID | None = None  # the process that claimed it last
    created_at: datetime = instant(default_now=True)
    started_at: datetime | None = instant(nullable=True)
    finished_at: datetime | None = instant(nullable=True)
