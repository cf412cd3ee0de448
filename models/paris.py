"""The clock of Paris: contracts, certificates and schedules count days there, and people are written to by day."""

from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

PARIS: Final = ZoneInfo("Europe/Paris")

TODAY_IN_PARIS: Final = f"CAST(now() AT TIME ZONE '{PARIS.key}' AS date)"
"""The day it is in France when a transaction begins, in the SQL of PostgreSQL."""

FROM_HOUR: Final = 8
TO_HOUR: Final = 20
SATURDAY: Final = 5


def day_in_paris(moment: datetime) -> date:
    """The day it was in France at this moment."""
    return moment.astimezone(PARIS).date()


def is_daytime(now: datetime) -> bool:
    """Whether it is Monday to Friday, from 8 to 20, in Paris. Public holidays are days like others.

    What Matricule does on its own writes to people at these hours only.
    """
    there = now.astimezone(PARIS)
    return there.weekday() < SATURDAY and FROM_HOUR <= there.hour < TO_HOUR
