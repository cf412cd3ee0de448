"""Sentences, days, durations and percentages for readers, the same on pages and on documents."""

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Final

from babel.dates import format_date
from babel.numbers import format_decimal

LOCALES_OF_BABEL: Final = {"fr": "fr_FR", "en": "en_GB"}
"""Each language uses the dates and numbers of one country."""

_FRENCH_SPACE: Final = re.compile(r"(?<=«) | (?=[:;!?»])")


def read_texts(file: Path) -> dict[str, Any]:
    """Reads the sentences of a TOML file by language; French sentences get their no-break spaces."""
    texts = tomllib.loads(file.read_text(encoding="utf-8"))
    texts["fr"] = _typeset(texts["fr"])
    return texts


def _typeset(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _typeset(value) for key, value in node.items()}
    return _FRENCH_SPACE.sub("\N{NO-BREAK SPACE}", node)


def shown_date(day: date, locale: str) -> str:
    """Returns a date without the name of the day: « 9 mars 2026 », « 1er avril 2026 »."""
    shown = format_date(day, "d MMMM y", locale=LOCALES_OF_BABEL[locale])
    return f"1er{shown[1:]}" if locale == "fr" and day.day == 1 else shown


def shown_duration(minutes: int) -> str:
    """Returns hours and minutes: « 7 h », « 6 h 40 », « 45 min »."""
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest}\N{NO-BREAK SPACE}min"
    return f"{hours}\N{NO-BREAK SPACE}h" + (f"\N{NO-BREAK SPACE}{rest:02}" if rest else "")


def shown_percent(percent: float, locale: str) -> str:
    """Returns a percentage: « 87,5 % »."""
    number = format_decimal(round(percent, 1), locale=LOCALES_OF_BABEL[locale])
    return f"{number}\N{NO-BREAK SPACE}%" if locale == "fr" else f"{number}%"
