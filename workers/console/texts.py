"""The texts of the console in French and English, one file of ``texts/`` for each family of pages.

A file has the tables ``[fr]`` and ``[en]`` with the same keys; ``now.toml`` gives the keys `now.…`. French is written
with plain spaces: the right ones are put in when a file is read.
"""

from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Final

from markupsafe import Markup, escape

from models.words import LOCALES
from workers.console.shown import shown_number
from workers.i18n.values import read_texts

FOLDER: Final = Path(__file__).parent / "texts"


class IncompleteTexts(Exception):
    """A text is missing in a language, or its two versions have other placeholders; the error names it."""


class Texts:
    """All texts of the console."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Reads all files.

        Raises: IncompleteTexts.
        """
        read: dict[str, dict[str, str]] = {locale: {} for locale in LOCALES}
        for file in sorted(folder.glob("*.toml")):
            tables = read_texts(file)
            for locale in LOCALES:
                read[locale] |= _flat(tables.get(locale, {}), f"{file.stem}.")
        _compare(read)
        self._texts = {locale: {key: escape(text) for key, text in texts.items()} for locale, texts in read.items()}
        # Nine of ten texts have no placeholder; to look for some in each of them was a sixth of the CPU of a page.
        self._plain = {
            locale: {key: texts[key].format() for key in texts if not _placeholders(read[locale][key])}
            for locale, texts in self._texts.items()
        }

    def keys(self) -> frozenset[str]:
        """Returns the keys of the texts."""
        return frozenset(self._texts[LOCALES[0]])

    def has(self, key: str) -> bool:
        """Tells whether there is such a text."""
        return key in self._texts[LOCALES[0]]

    def text(self, locale: str, key: str, /, **values: object) -> Markup:
        """Returns a text with its placeholders filled, as HTML: values are escaped.

        A text with the keys `….one` and `….many` is chosen by the value `n`: French says "one" of 0 as well. Numbers
        are written as the language writes them.

        Raises: KeyError for a text that is not there.
        """
        if (plain := self._plain[locale].get(key)) is not None:
            return plain
        texts = self._texts[locale]
        if key not in texts and "n" in values:
            key = f"{key}.{'one' if _is_one(locale, values['n']) else 'many'}"
        return texts[key].format(**{name: _written(value, locale) for name, value in values.items()})


def _written(value: object, locale: str) -> object:
    return shown_number(value, locale) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_one(locale: str, number: object) -> bool:
    return number in (0, 1) if locale == "fr" else number == 1


def _flat(table: Mapping[str, Any], prefix: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in table.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _compare(read: Mapping[str, Mapping[str, str]]) -> None:
    french, english = (read[locale] for locale in LOCALES)
    if lacking := french.keys() ^ english.keys():
        raise IncompleteTexts(f"in one language only: {', '.join(sorted(lacking))}")
    other = [key for key in french if _placeholders(french[key]) != _placeholders(english[key])]
    if other:
        raise IncompleteTexts(f"with other placeholders in English: {', '.join(other)}")


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


TEXTS: Final = Texts()
