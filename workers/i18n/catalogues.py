"""The sentences of mails and codes in each language, read from ``email_templates/locales`` without compilation.

French is the source language: a French sentence is its own key. Its source has plain spaces; this module inserts the
narrow and wide no-break spaces of French typography before ``: ; ! ?`` and inside « », before any value of a person is
filled in.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from babel.messages.pofile import read_po

from models.words import LOCALES, Code

TEMPLATES = Path(__file__).resolve().parents[2] / "email_templates"
SOURCE_LOCALE = LOCALES[0]

_WIDE = re.compile(r"(?<=«) | (?=[»:](?:\W|$))")
_NARROW = re.compile(r" (?=[;!?](?:\W|$))")


def typeset(sentence: str) -> str:
    """Applies French spacing: U+00A0 before a colon and inside guillemets, U+202F before ``;``, ``!`` and ``?``."""
    return _NARROW.sub("\u202f", _WIDE.sub("\u00a0", sentence))


@cache
def sentences(locale: str) -> Mapping[str, str]:
    """Returns the translation of each French sentence; empty for French itself."""
    if locale == SOURCE_LOCALE:
        return {}
    with (TEMPLATES / "locales" / locale / "messages.po").open("rb") as file:
        catalogue = read_po(file, locale=locale)
    return {
        form: translated
        for message in catalogue
        if message.id and not message.fuzzy
        for form, translated in zip(_forms(message.id), _forms(message.string), strict=False)
        if translated
    }


def _forms(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(form) for form in value)  # type: ignore[attr-defined]


def translate(locale: str, sentence: str) -> str:
    """Returns the sentence in this locale, ready to be shown.

    Raises:
      KeyError: the sentence has no translation. A mail half in French would be worse than no mail, and tests find it.
    """
    if locale == SOURCE_LOCALE:
        return typeset(sentence)
    return sentences(locale)[sentence]


@cache
def code_sentences(locale: str) -> Mapping[str, str]:
    """Returns the sentence that people read for each code."""
    text = (TEMPLATES / "locales" / f"codes.{locale}.toml").read_text(encoding="utf-8")
    found: dict[str, str] = tomllib.loads(text)
    return {code: typeset(sentence) if locale == SOURCE_LOCALE else sentence for code, sentence in found.items()}


def code_sentence(code: str, locale: str) -> str:
    """Returns the sentence for a code; the code itself if it is unknown here (written by a newer worker)."""
    return code_sentences(locale).get(code, code) if code in Code.__members__.values() else code
