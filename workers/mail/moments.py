"""Moments as people read them: in words, by the clock of Paris."""

from datetime import date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal

PARIS = ZoneInfo("Europe/Paris")

_MOMENT = {"fr": "EEEE d MMMM y 'à' HH:mm", "en": "EEEE d MMMM y 'at' HH:mm"}
_DAY = "EEEE d MMMM y"

LOCALES_OF_BABEL = {"fr": "fr_FR", "en": "en_GB"}
"""The country whose dates and numbers each language is shown with."""


def shown_moment(moment: datetime, locale: str) -> str:
    """Day, hour and minute."""
    return _shown(moment, locale, _MOMENT[locale])


def shown_day(moment: datetime, locale: str) -> str:
    """The day alone."""
    return _shown(moment, locale, _DAY)


def shown_date(day: date, locale: str) -> str:
    """A day without its name, as documents say it: « 9 mars 2026 », « 1er avril 2026 »."""
    shown = format_date(day, "d MMMM y", locale=LOCALES_OF_BABEL[locale])
    return f"1er{shown[1:]}" if locale == "fr" and day.day == 1 else shown


def shown_duration(minutes: int) -> str:
    """Hours and minutes: « 7 h », « 6 h 40 », « 45 min »."""
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest}\N{NO-BREAK SPACE}min"
    return f"{hours}\N{NO-BREAK SPACE}h" + (f"\N{NO-BREAK SPACE}{rest:02}" if rest else "")


def shown_percent(percent: float, locale: str) -> str:
    """« 87,5 % »."""
    number = format_decimal(round(percent, 1), locale=LOCALES_OF_BABEL[locale])
    return f"{number}\N{NO-BREAK SPACE}%" if locale == "fr" else f"{number}%"


@lru_cache(maxsize=1024)
def _shown(moment: datetime, locale: str, pattern: str) -> str:
    if moment.tzinfo is None:
        raise ValueError("a moment shown to a person needs a time zone")
    return format_datetime(moment, pattern, tzinfo=PARIS, locale=LOCALES_OF_BABEL[locale])
