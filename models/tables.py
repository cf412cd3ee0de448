"""Every table, imported in one place: what migrations compare the database with."""

from models import (
    account,
    audit,
    certificate,
    contract,
    correction,
    email,
    enrollment,
    job,
    link,
    password,
    portal,
    roster,
    schedule,
    throttle,
)
from models.base import metadata

__all__ = [
    "account",
    "audit",
    "certificate",
    "contract",
    "correction",
    "email",
    "enrollment",
    "job",
    "link",
    "metadata",
    "password",
    "portal",
    "roster",
    "schedule",
    "throttle",
]
