"""Moments in words for readers, in the time of Paris."""

from datetime import datetime
from functools import lru_cache

from babel.dates import format_datetime

from models.paris import PARIS
from workers.i18n.values import LOCALES_OF_BABEL

_MOMENT = {"fr": "EEEE d MMMM y 'à' HH:mm", "en": "EEEE d MMMM y 'at' HH:mm"}
_DAY = "EEEE d MMMM y"


def shown_moment(moment: datetime, locale: str) -> str:
    """Returns day, hour and minute in words."""
    return _shown(moment, locale, _MOMENT[locale])


def shown_day(moment: datetime, locale: str) -> str:
    """Returns the day in words."""
    return _shown(moment, locale, _DAY)


@lru_cache(maxsize=1024)
def _shown(moment: datetime, locale: str, pattern: str) -> str:
    if moment.tzinfo is None:
        raise ValueError("a moment shown to a person needs a time zone")
    return format_datetime(moment, pattern, tzinfo=PARIS, locale=LOCALES_OF_BABEL[locale])
