"""Every table, imported in one place: what migrations compare the database with."""

from models import (
    account,
    audit,
    company,
    contract,
    email,
    enrollment,
    job,
    link,
    portal,
    schedule,
    seat_movement,
    throttle,
    training,
)
from models.base import metadata

__all__ = [
    "account",
    "audit",
    "company",
    "contract",
    "email",
    "enrollment",
    "job",
    "link",
    "metadata",
    "portal",
    "schedule",
    "seat_movement",
    "throttle",
    "training",
]
