"""Every table, imported in one place: what migrations compare the database with."""

from models import (
    account,
    audit,
    certificate_holder,
    company,
    contract,
    correction,
    email,
    enrollment,
    job,
    link,
    portal,
    schedule,
    seat_movement,
    sign_in,
    suppression,
    throttle,
    training,
)
from models.base import metadata

__all__ = [
    "account",
    "audit",
    "certificate_holder",
    "company",
    "contract",
    "correction",
    "email",
    "enrollment",
    "job",
    "link",
    "metadata",
    "portal",
    "schedule",
    "seat_movement",
    "sign_in",
    "suppression",
    "throttle",
    "training",
]
