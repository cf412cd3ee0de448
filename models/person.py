"""Each person of a request or roster is either kept with clean values, or refused for one reason."""

import re
from typing import NamedTuple

from models.address import normalise_email
from models.label import BIDI_CONTROL, SURROGATES, WHITE_SPACE, compose, trim
from models.words import LOCALES, Code

MAX_NAME = 100
MAX_EXTERNAL_ID = 100

# A name of precomposed Latin letters with single spaces, hyphens or apostrophes between them is clean already.
_LETTERS = "[A-Za-zÀ-ÖØ-öø-ÿŒœŸ]+"
_ORDINARY_NAME = re.compile(rf"{_LETTERS}(?:[-' ’]{_LETTERS})*")
_WHITE_SPACE_RUN = re.compile(f"[{WHITE_SPACE}]+")
# White space has become plain spaces before these control characters are looked for.
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f{BIDI_CONTROL}{SURROGATES}]")
_LOCALE = re.compile(rf"({'|'.join(LOCALES)})(?:[-_](?:[a-z]{{2}}|[0-9]{{3}}))?", re.IGNORECASE | re.ASCII)
_NAME_CODES = (Code.MISSING_NAME, Code.UNSAFE_VALUE, Code.NAME_TOO_LONG)


class Person(NamedTuple):
    """A person who can be enrolled. It is a named tuple because one request makes 100,000 of them."""

    email_norm: str
    first_name: str
    last_name: str
    locale: str | None
    external_id: str | None


class Refusal(NamedTuple):
    """The reason a person is refused, and the field to correct."""

    code: Code
    field: str


def check_person(
    email: str, first_name: str, last_name: str, locale: str | None = None, external_id: str | None = None
) -> Person | Refusal:
    """Returns the person with clean values, or the first refusal: address, then names, language, staff number.

    An address that another row has too is not refused here, because that depends on the whole request.
    """
    email_norm = normalise_email(email)
    if isinstance(email_norm, Code):
        return Refusal(email_norm, "email")
    first, last = clean_name(first_name), clean_name(last_name)
    if isinstance(first, Code) or isinstance(last, Code):
        return _refuse_names(first, last)
    language = None if locale is None else clean_locale(locale)
    if isinstance(language, Code):
        return Refusal(language, "locale")
    identifier = None if external_id is None else clean_external_id(external_id)
    if isinstance(identifier, Code):
        return Refusal(identifier, "external_id")
    return Person(email_norm, first, last, language, identifier)


def clean_name(text: str) -> str | Code:
    """Returns a first or last name as certificates and mails show it: NFC, trimmed, single spaces.

    Nothing else changes: capitals, particles, HTML and texts like formulas stay as the company wrote them.

    Returns:
      The name; or ``MISSING_NAME`` if nothing is left, ``UNSAFE_VALUE`` if it holds a control or Bidi_Control
      character or half a surrogate pair, ``NAME_TOO_LONG`` if it is over 100 code points.
    """
    if len(text) <= MAX_NAME and _ORDINARY_NAME.fullmatch(text):
        return text
    return clean_unusual_name(text)


def clean_unusual_name(text: str) -> str | Code:
    """Applies the complete rule to any text; ``clean_name`` gives the same answer faster for ordinary names."""
    name = _WHITE_SPACE_RUN.sub(" ", trim(text))
    if not name:
        return Code.MISSING_NAME
    if _UNSAFE.search(name):
        return Code.UNSAFE_VALUE
    composed = compose(name, MAX_NAME)
    return Code.NAME_TOO_LONG if composed is None else composed


def clean_locale(text: str | None) -> str | Code | None:
    """Returns the language of mails: ``fr`` for ``fr``, ``FR`` or ``fr-BE``; None if the text is empty.

    A language without mails is ``INVALID_LOCALE``.
    """
    if text is None:
        return None
    asked = trim(text)
    if not asked:
        return None
    known = _LOCALE.fullmatch(asked)
    return known[1].lower() if known else Code.INVALID_LOCALE


def clean_external_id(text: str | None) -> str | Code | None:
    """Returns the company's own number for the person, with its leading zeros; None if the text is empty.

    As for names, it may be refused with ``UNSAFE_VALUE`` or ``VALUE_TOO_LONG`` (over 100 code points).
    """
    if text is None:
        return None
    identifier = trim(text)
    if not identifier:
        return None
    if _UNSAFE.search(identifier):
        return Code.UNSAFE_VALUE
    composed = compose(identifier, MAX_EXTERNAL_ID)
    return Code.VALUE_TOO_LONG if composed is None else composed


def _refuse_names(first: str | Code, last: str | Code) -> Refusal:
    """Refuses two names with one code: the most serious one; of two equal codes, that of the first name."""
    for code in _NAME_CODES:
        if first is code:
            return Refusal(code, "first_name")
        if last is code:
            return Refusal(code, "last_name")
    raise AssertionError("neither name was refused")
