"""When people may be written to by what Matricule does on its own: on working days, by the clock of Paris."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

PARIS: Final = ZoneInfo("Europe/Paris")
FROM_HOUR: Final = 8
TO_HOUR: Final = 20
SATURDAY: Final = 5


def is_daytime(now: datetime) -> bool:
    """Whether it is Monday to Friday, from 8 to 20, in Paris. Public holidays are days like others."""
    there = now.astimezone(PARIS)
    return there.weekday() < SATURDAY and FROM_HOUR <= there.hour < TO_HOUR
