"""Whom a certificate is for, kept apart from an account that was erased."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from models.base import Record, instant


class CertificateHolder(Record, table=True):
    """The names an erased person completed a training under: the law has certificates kept longer than accounts."""

    __tablename__ = "certificate_holder"

    enrollment_id: UUID = Field(primary_key=True)
    first_name: str
    last_name: str
    kept_until: datetime = instant()
