"""Contracts, certificates and schedules count days in Paris, and automatic mails are sent in its daytime."""

from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

PARIS: Final = ZoneInfo("Europe/Paris")

TODAY_IN_PARIS: Final = f"CAST(now() AT TIME ZONE '{PARIS.key}' AS date)"
"""The date in France when a transaction begins, as an SQL expression."""

FROM_HOUR: Final = 8
TO_HOUR: Final = 20
SATURDAY: Final = 5


def day_in_paris(moment: datetime) -> date:
    """Returns the date in France at this moment."""
    return moment.astimezone(PARIS).date()


def is_daytime(now: datetime) -> bool:
    """Whether it is Monday to Friday, from 8 to 20, in Paris; a public holiday counts as any other day.

    The automatic work of Matricule writes to people at these hours only.
    """
    there = now.astimezone(PARIS)
    return there.weekday() < SATURDAY and FROM_HOUR <= there.hour < TO_HOUR
