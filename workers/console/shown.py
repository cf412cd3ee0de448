"""Writes numbers, durations, moments and masked values as the pages of the console show them.

Moments are UTC in the markup and Paris on the screen.
"""

import re
from datetime import UTC, datetime
from typing import Final

from babel.dates import format_datetime
from markupsafe import Markup, escape

from models.label import BIDI_CONTROL
from models.paris import PARIS
from workers.i18n.values import LOCALES_OF_BABEL

NARROW: Final = "\N{NARROW NO-BREAK SPACE}"
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
NOTHING: Final = "\N{EN DASH}"
"""Stands where there is no value."""

_TURNING: Final = re.compile(f"[{BIDI_CONTROL}]")

_UNITS: Final = ("", "k", "M", "G", "T")

DOTS: Final = "\N{BULLET}" * 5
"""Stands for what is masked: always as many, so that it does not tell a length."""


def shown_number(value: int, locale: str, *, at_least: bool = False) -> str:
    """Returns « 10 000 », in English 10,000; with a plus when there may be more."""
    written = f"{value:,}".replace(",", NARROW) if locale == "fr" else f"{value:,}"
    return f"{written}+" if at_least else written


def shown_duration(seconds: float | None, locale: str) -> str:
    """Returns a time in two units at most: 12 s, 3 min 10 s, 1 h 25, 2 d; a dash for none."""
    if seconds is None:
        return NOTHING
    whole = round(max(seconds, 0))
    day = "j" if locale == "fr" else "d"
    if whole < 60:
        return f"{whole}{NO_BREAK}s"
    if whole < 600:
        rest = f"{NO_BREAK}{whole % 60}{NO_BREAK}s" if whole % 60 else ""
        return f"{whole // 60}{NO_BREAK}min{rest}"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes}{NO_BREAK}min"
    if minutes < 48 * 60:
        rest = f"{NO_BREAK}{minutes % 60:02}" if minutes % 60 else ""
        return f"{minutes // 60}{NO_BREAK}h{rest}"
    return f"{round(minutes / 1_440)}{NO_BREAK}{day}"


def shown_bytes(value: int, locale: str) -> str:
    """Returns a size: 512 kB, 1.2 GB; « 1,2 Go » in French."""
    size, unit = float(value), 0
    while size >= 1_000 and unit < len(_UNITS) - 1:
        size, unit = size / 1_000, unit + 1
    written = f"{size:.1f}" if unit and size < 10 else f"{size:.0f}"
    sign = "o" if locale == "fr" else "B"
    return f"{written.replace('.', ',') if locale == 'fr' else written}{NO_BREAK}{_UNITS[unit]}{sign}"


def visible(value: object) -> object:
    """Shows characters that turn a line round as a sign: what is written behind a name must stay as it is.

    It is given all that a template writes, so that no value has to be thought of.
    """
    if not isinstance(value, str) or not _TURNING.search(value):
        return value
    return type(value)(_TURNING.sub("\N{REPLACEMENT CHARACTER}", value))


def read_moment(moment: datetime | str | None) -> datetime | None:
    """Returns a moment of a row or of JSON as a datetime with its time zone."""
    read = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return read.replace(tzinfo=UTC) if read is not None and read.tzinfo is None else read


def shown_moment(moment: datetime | str | None, locale: str, *, seconds: bool = False) -> Markup:
    """Writes a moment: the hour of Paris, with its day unless that is today; a dash for none.

    Parameters:
      seconds: show them too.
    """
    at = read_moment(moment)
    if at is None:
        return escape(NOTHING)
    utc = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc, utc.replace("T", " ").replace("Z", " UTC"), plain_moment(at, locale, seconds=seconds)
    )


def plain_moment(at: datetime, locale: str, *, seconds: bool = False) -> str:
    """Returns a moment as text, in the time of Paris."""
    there, now = at.astimezone(PARIS), datetime.now(PARIS)
    hour = f"{there:%H:%M:%S}" if seconds else f"{there:%H:%M}"
    if there.date() == now.date():
        return hour
    day = "d MMM" if there.year == now.year else "d MMM y"
    return f"{format_datetime(there, day, tzinfo=PARIS, locale=LOCALES_OF_BABEL[locale])}, {hour}"


def mask(value: object) -> Markup:
    """Writes a value of a person so that it cannot be read: the first letter and dots; a dash for none."""
    text = "" if value is None else str(value).strip()
    return Markup('<span class="mask">{}</span>').format(text[:1] + DOTS) if text else escape(NOTHING)


def shown_command(words: str) -> Markup:
    """Writes a command line that can be copied."""
    return Markup('<code class="cmd">{}</code>').format(words)
