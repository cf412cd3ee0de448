"""Days and hours as a French and an English page write them, at the time of Paris."""

from datetime import date, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from babel.dates import format_date
from markupsafe import Markup, escape

PARIS: Final = ZoneInfo("Europe/Paris")


def now() -> datetime:
    """Returns the time in Paris."""
    return datetime.now(PARIS)


def in_paris(moment: datetime | str) -> datetime:
    """Returns a moment at the time of Paris, also one that an answer of Matricule gives as text."""
    read = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return read.astimezone(PARIS)


def short_day(moment: date | datetime | str, language: str, *, today: date | None = None) -> Markup:
    """Returns « 24 nov. », with the year when it is another one."""
    day = _day(moment)
    pattern = "d MMM" if day.year == (today or now().date()).year else "d MMM y"
    return _written(day, pattern, language)


def long_day(moment: date | datetime | str, language: str) -> Markup:
    """Returns « 1er septembre 2026 »."""
    return _written(_day(moment), "d MMMM y", language)


def hour(moment: datetime | str, language: str) -> str:
    """Returns « 14 h 05 », in English 14:05."""
    local = in_paris(moment)
    return f"{local.hour}\N{NO-BREAK SPACE}h\N{NO-BREAK SPACE}{local:%M}" if language == "fr" else f"{local:%H:%M}"


def day_and_hour(moment: datetime | str, language: str) -> Markup:
    """Returns « 21 nov., 16 h 40 »; of today only the hour."""
    local = in_paris(moment)
    if local.date() == now().date():
        return Markup(escape(hour(local, language)))
    return Markup("{}, {}").format(short_day(local, language), hour(local, language))


def _day(moment: date | datetime | str) -> date:
    if isinstance(moment, str):
        moment = date.fromisoformat(moment) if len(moment) == len("2026-01-31") else datetime.fromisoformat(moment)
    return in_paris(moment).date() if isinstance(moment, datetime) else moment


@lru_cache(maxsize=2_000)
def _written(day: date, pattern: str, language: str) -> Markup:
    """Writes a day, the first of a month as French does; a page writes few days many times."""
    text = format_date(day, pattern, locale=language)
    if pattern != "d MMMM y":
        text = text.replace(" ", "\N{NO-BREAK SPACE}")
    if language == "fr" and day.day == 1:
        return Markup("1<sup>er</sup>{}").format(text.removeprefix("1"))
    return Markup(escape(text))
