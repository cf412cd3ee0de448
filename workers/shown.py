"""Days, durations and percentages as people read them, on pages and documents alike."""

from datetime import date
from typing import Final

from babel.dates import format_date
from babel.numbers import format_decimal

LOCALES_OF_BABEL: Final = {"fr": "fr_FR", "en": "en_GB"}
"""The country whose dates and numbers each language is shown with."""


def shown_date(day: date, locale: str) -> str:
    """A day without its name: « 9 mars 2026 », « 1er avril 2026 »."""
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
