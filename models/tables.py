"""This module imports every table, so that migrations can compare all of them with the database."""

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
    name_correction,
    password,
    portal,
    relay,
    roster,
    schedule,
    throttle,
    webhook,
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
    "name_correction",
    "password",
    "portal",
    "relay",
    "roster",
    "schedule",
    "throttle",
    "webhook",
]
