"""One person of a request or a roster: what of them we keep, or the one reason they are refused."""

import re
from typing import NamedTuple

from models.address import normalise_email
from models.label import BIDI_CONTROL, SURROGATES, WHITE_SPACE, compose, trim
from models.words import LOCALES, Code

MAX_NAME = 100
MAX_EXTERNAL_ID = 100

# Precomposed Latin letters with single spaces, hyphens or apostrophes between them: clean already, whatever follows.
_LETTERS = "[A-Za-zÀ-ÖØ-öø-ÿŒœŸ]+"
_ORDINARY_NAME = re.compile(rf"{_LETTERS}(?:[-' ’]{_LETTERS})*")
_WHITE_SPACE_RUN = re.compile(f"[{WHITE_SPACE}]+")
# Control characters other than white space, which was made plain spaces before.
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f{BIDI_CONTROL}{SURROGATES}]")
_LOCALE = re.compile(rf"({'|'.join(LOCALES)})(?:[-_](?:[a-z]{{2}}|[0-9]{{3}}))?", re.IGNORECASE | re.ASCII)
_NAME_CODES = (Code.MISSING_NAME, Code.UNSAFE_VALUE, Code.NAME_TOO_LONG)


class Person(NamedTuple):
    """A person fit to be enrolled. A named tuple because 100,000 of them are made in one request."""

    email_norm: str
    first_name: str
    last_name: str
    locale: str | None
    external_id: str | None


class Refusal(NamedTuple):
    """Why a person was refused, and which of their fields is to be corrected."""

    code: Code
    field: str


def check_person(
    email: str, first_name: str, last_name: str, locale: str | None = None, external_id: str | None = None
) -> Person | Refusal:
    """The person as we keep them, or the first reason to refuse them: address, then names, language, staff number.

    Whether another row holds the same address is not asked here: that depends on the whole request.
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
    """A first or last name as certificates and mails will show it: NFC, trimmed, each run of white space one space.

    Nothing else is changed: capitals, particles, HTML and formula-looking text are what the person's company wrote.

    Returns:
      The name; or ``MISSING_NAME`` if nothing is left, ``UNSAFE_VALUE`` if it holds a control or Bidi_Control
      character or half a surrogate pair, ``NAME_TOO_LONG`` if it is over 100 code points.
    """
    if len(text) <= MAX_NAME and _ORDINARY_NAME.fullmatch(text):
        return text
    return clean_unusual_name(text)


def clean_unusual_name(text: str) -> str | Code:
    """The whole rule, for any text; ``clean_name`` answers the same, sooner for ordinary names."""
    name = _WHITE_SPACE_RUN.sub(" ", trim(text))
    if not name:
        return Code.MISSING_NAME
    if _UNSAFE.search(name):
        return Code.UNSAFE_VALUE
    composed = compose(name, MAX_NAME)
    return Code.NAME_TOO_LONG if composed is None else composed


def clean_locale(text: str | None) -> str | Code | None:
    """The language mails are written in: ``fr`` for ``fr``, ``FR`` or ``fr-BE``; None if none was asked.

    Returns ``INVALID_LOCALE`` for a language mails do not exist in.
    """
    if text is None:
        return None
    asked = trim(text)
    if not asked:
        return None
    known = _LOCALE.fullmatch(asked)
    return known[1].lower() if known else Code.INVALID_LOCALE


def clean_external_id(text: str | None) -> str | Code | None:
    """The company's own number for the person, text for text (leading zeros count); None if there is none.

    Returns ``UNSAFE_VALUE`` or ``VALUE_TOO_LONG`` (over 100 code points) as for names.
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
    """One code for the two names: the gravest, and of two equal ones the first name's."""
    for code in _NAME_CODES:
        if first is code:
            return Refusal(code, "first_name")
        if last is code:
            return Refusal(code, "last_name")
    raise AssertionError("neither name was refused")
