"""The audit trail records each change: who made it, when, and with which result."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Identity, Index
from sqlmodel import Field

from models.base import Record, instant


class Audit(Record, table=True):
    """One change. Rows are only added; they hold identifiers, never names or addresses."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_of_company", "company_id", "id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    at: datetime = instant(default_now=True)
    portal_id: UUID | None = None
    requested_by: str = ""
    action: str
    result: str = ""
    company_id: UUID | None = None
    account_id: UUID | None = Field(default=None, index=True)
    subject_id: UUID | None = Field(default=None, index=True)
    job_id: UUID | None = Field(default=None, index=True)
    detail: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)
