"""The seat ledger: every seat taken or given back, for ever."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, SmallInteger
from sqlmodel import Field

from models.base import Record, instant


class SeatMovement(Record, table=True):
    """One seat taken (+1) or given back (−1). Append-only; reconciliation checks it.

    The contract's is its only foreign key: on a table that only grows, each costs a look-up per row.
    """

    __tablename__ = "seat_movement"
    __table_args__ = (CheckConstraint("change IN (-1, 1)", name="change"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    contract_id: UUID = Field(foreign_key="contract.id")
    enrollment_id: UUID
    change: int = Field(sa_type=SmallInteger)
    job_id: UUID | None = None
    created_at: datetime = instant(default_now=True)
