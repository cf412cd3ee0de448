"""Marks stand for values while the skeleton of a mail is made: a template may place them and do nothing else.

No value of a person is in a text when its marks are looked for, so no value can be taken for a mark.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from babel.numbers import format_decimal

from workers.i18n.moments import shown_day, shown_moment
from workers.i18n.values import LOCALES_OF_BABEL

_OPEN, _CLOSE = "\ue000", "\ue001"  # characters for private use, which no template and no catalogue has
_MARK = re.compile(rf"{_OPEN}(\w+):(\w*){_CLOSE}")


@lru_cache(maxsize=1024, typed=True)
def _shown_number(number: float, locale: str) -> str:
    return format_decimal(number, locale=LOCALES_OF_BABEL[locale])


FORMATS: Final[Mapping[str, Callable[[Any, str], str]]] = {
    "moment": shown_moment,
    "day": shown_day,
    "number": _shown_number,
}
"""The filters of templates that turn a moment or a number into words."""


class MailPlace(NamedTuple):
    """A place of a mail: the name of its value, and the filter through which the value is shown, if any."""

    name: str
    form: str = ""

    def shown(self, value: object, locale: str) -> str:
        """Returns the text of this place, as the template would show it."""
        return FORMATS[self.form](value, locale) if self.form else str(value)


class ComputedValueError(Exception):
    """A template does more with a value than placing it."""


class ValueMark:
    """Stands for a value that is not empty."""

    def __init__(self, place: MailPlace) -> None:
        self.place = place

    def __str__(self) -> str:
        return f"{_OPEN}{self.place.name}:{self.place.form}{_CLOSE}"

    def __eq__(self, other: object) -> bool:
        raise ComputedValueError(self.place.name)

    __hash__ = object.__hash__

    def through(self, form: str) -> "ValueMark":
        """Returns the mark of the same value, shown through a filter."""
        if self.place.form:
            raise ComputedValueError(self.place.name)
        return ValueMark(MailPlace(self.place.name, form))


class NumberMark(ValueMark):
    """Stands for a whole number other than 0 and 1, which sentences tell apart."""

    def __eq__(self, other: object) -> bool:
        return False if other in (0, 1) else super().__eq__(other)

    __hash__ = object.__hash__


def cut_at_marks(text: str) -> tuple[list[str], list[MailPlace]]:
    """Returns the pieces of a text between its marks, and the places of the marks in their order.

    Raises:
      ComputedValueError: a mark is damaged.
    """
    pieces = _MARK.split(text)
    if any(_OPEN in piece or _CLOSE in piece for piece in pieces[::3]):
        raise ComputedValueError("damaged mark")
    return pieces[::3], [MailPlace(name, form) for name, form in zip(pieces[1::3], pieces[2::3], strict=True)]
