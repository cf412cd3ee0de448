"""The texts of the pages in French and English, one file of ``texts/`` for each family of pages.

A file has the tables ``[fr]`` and ``[en]`` with the same keys. ``participants.toml`` gives the keys `participants.…`.
Plain spaces are written there: French spacing is put in when a file is read.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Final

from markupsafe import Markup, escape

LANGUAGES: Final = ("fr", "en")
"""The first is the default."""

FOLDER: Final = Path(__file__).parent / "texts"
SENTENCES: Final = Path(__file__).parent / "sentences.toml"

NARROW: Final = "\N{NARROW NO-BREAK SPACE}"
NO_BREAK: Final = "\N{NO-BREAK SPACE}"

_UNIT: Final = re.compile(r"(?<=[nN]°) |(?<=[\d}]) (?=(?:h|min|s|ko|Mo|secondes|heures|jours)\b(?!’))|(?<=\} h) (?=\{)")


class IncompleteTexts(Exception):
    """A text is missing in a language, or its two versions have other placeholders; the error names it."""


class Texts:
    """All texts of the pages, and the sentences for codes."""

    def __init__(self, folder: Path = FOLDER, sentences: Path = SENTENCES) -> None:
        """Reads all files.

        Raises: IncompleteTexts.
        """
        self._texts = {language: _read_folder(folder, language) for language in LANGUAGES}
        self._sentences = {language: _read_table(sentences, language) for language in LANGUAGES}
        for tables in (self._texts, self._sentences):
            _compare(tables["fr"], tables["en"])
        self._escaped = {
            language: {key: escape(text) for key, text in texts.items()} for language, texts in self._texts.items()
        }

    def keys(self) -> frozenset[str]:
        """Returns the keys of the texts, without those of the codes."""
        return frozenset(self._texts["fr"])

    def codes(self) -> frozenset[str]:
        """Returns the codes that have a sentence."""
        return frozenset(self._sentences["fr"])

    def has(self, key: str) -> bool:
        """Tells whether there is such a text."""
        return key in self._texts["fr"]

    def text(self, language: str, key: str, /, **values: object) -> Markup:
        """Returns a text with its placeholders filled, as HTML: values are escaped.

        A text with the keys `….one` and `….many` is chosen by the value `n`: French says "one" of 0 as well.
        Numbers are written as the language writes them. The point of an abbreviation, as in « 12 nov. », also ends a
        sentence.

        Raises: KeyError for a text that is not there.
        """
        texts = self._escaped[language]
        if key not in texts and "n" in values:
            key = f"{key}.{'one' if _is_one(language, values['n']) else 'many'}"
        shown = {name: _shown(value, language) for name, value in values.items()}
        return _with_one_point(texts[key], shown).format(**shown) if shown else texts[key]

    def sentence(self, language: str, code: str) -> str:
        """Returns the text that people read for a code; one of a newer release gets a general sentence."""
        sentences = self._sentences[language]
        return sentences.get(code, sentences["unknown"])


def shown_number(value: int, language: str) -> str:
    """Returns « 10 000 », in English 10,000."""
    return f"{value:,}".replace(",", NARROW) if language == "fr" else f"{value:,}"


def _shown(value: object, language: str) -> object:
    return shown_number(value, language) if isinstance(value, int) and not isinstance(value, bool) else value


def spaced(text: str) -> str:
    """Puts no-break spaces where French has them.

    They are narrow before ; : ! ? % » and after «, and in numbers; wide after n° and before units.
    """
    signs = re.sub(r" (?=[;:!?%»])", NARROW, text).replace("« ", f"«{NARROW}")
    return _UNIT.sub(NO_BREAK, re.sub(r"(?<=\d) (?=\d{3}\b)", NARROW, signs))


def _with_one_point(text: Markup, values: Mapping[str, object]) -> Markup:
    """Leaves out the point that ends a sentence after a value that ends with one."""
    pointed = [name for name, value in values.items() if str(value).endswith((".", "…"))]
    return Markup(re.sub(rf"(\{{(?:{'|'.join(pointed)})\}})\.(?=\s|$)", r"\1", text)) if pointed else text


def _is_one(language: str, number: object) -> bool:
    return number in (0, 1) if language == "fr" else number == 1


def _read_folder(folder: Path, language: str) -> dict[str, str]:
    read: dict[str, str] = {}
    for file in sorted(folder.glob("*.toml")):
        read |= {f"{file.stem}.{key}": text for key, text in _read_table(file, language).items()}
    return read


def _read_table(file: Path, language: str) -> dict[str, str]:
    table = tomllib.loads(file.read_text(encoding="utf-8")).get(language, {})
    flat = _flat(table)
    return {key: spaced(text) for key, text in flat.items()} if language == "fr" else flat


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def _compare(french: Mapping[str, str], english: Mapping[str, str]) -> None:
    if lacking := french.keys() ^ english.keys():
        raise IncompleteTexts(f"in one language only: {', '.join(sorted(lacking))}")
    other = [key for key in french if _placeholders(french[key]) != _placeholders(english[key])]
    if other:
        raise IncompleteTexts(f"with other placeholders in English: {', '.join(other)}")


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
