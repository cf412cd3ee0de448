"""Trainings: what is learnt."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, UniqueConstraint
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.snapshot import TrainingNature


class Training(Record, table=True):
    """A training, known by its portal's own reference."""

    __tablename__ = "training"
    __table_args__ = (UniqueConstraint("portal_id", "reference"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    portal_id: UUID = Field(foreign_key="portal.id")
    reference: str
    title: str
    nature: str = Field(
        default=TrainingNature.TRAINING, sa_column_kwargs={"server_default": TrainingNature.TRAINING.value}
    )
    objectives: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # a text each
    modality: str | None = None
    planned_minutes: int | None = None
    created_at: datetime = instant(default_now=True)
