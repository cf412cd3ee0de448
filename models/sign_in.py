"""Signing in: how many wrong passwords an address or an account may be tried with, and how long it then waits."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlmodel import Field

from models.base import Record, instant

FREE_TRIES: Final = 5
"""Failures in a row that cost nothing: people mistype."""

WAITS: Final = (60, 300, 900, 3_600)
"""Seconds an address or account is closed after the fifth failure in a row, the sixth… ; the last repeats. At one try
an hour, the hundred tries NIST SP 800-63B-4, 3.2.2 allows in all take four days."""

FORGOTTEN_AFTER: Final = timedelta(days=1)
"""Without a failure for so long, counting starts afresh."""


class SignIn(Record, table=True):
    """Failures in a row of one subject: an account, or the hash of an address, known or not."""

    __tablename__ = "sign_in"

    subject: UUID = Field(primary_key=True)
    failures: int
    failed_at: datetime = instant(default_now=True)
    locked_until: datetime | None = instant(nullable=True)


def lock_seconds(failures: int) -> int:
    """How long a subject is closed after so many failures in a row; 0 while they cost nothing."""
    beyond = failures - FREE_TRIES
    return 0 if beyond < 0 else WAITS[min(beyond, len(WAITS) - 1)]
