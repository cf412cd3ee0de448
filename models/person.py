"""Each person of a request or roster is either kept with clean values, or refused with every fault of the values."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from models.address import normalise_email
from models.double_encoding import is_double_encoded
from models.label import BIDI_CONTROL, SURROGATES, WHITE_SPACE, compose, trim
from models.words import LOCALES, Code

MAX_NAME = 100
MAX_EXTERNAL_ID = 100

# A name of precomposed Latin letters with single spaces, hyphens or apostrophes between them is clean already. Ã, Ä and
# Å are left out: most text that was encoded twice has one of them.
_LETTERS = "[A-Za-zÀ-ÂÆ-ÖØ-öø-ÿŒœŸ]+"
_ORDINARY_NAME = re.compile(rf"{_LETTERS}(?:[-' ’]{_LETTERS})*")
_WHITE_SPACE_RUN = re.compile(f"[{WHITE_SPACE}]+")
# White space has become plain spaces before these control characters are looked for.
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f\ufffd{BIDI_CONTROL}{SURROGATES}]")
# A cell that means "there is none": people with one name have it in the column of the other.
_NO_NAME = re.compile(r"[-‐‑‒–—―−⁃﹘﹣－]+|[.．]+|…")
# What spreadsheets show in place of a value: #N/A, #REF!, #NOM ?, #VALEUR!, Err:502, and ##### in a narrow column.
_ERROR_WORD = re.compile(
    r"#{3,}|#[¡¿]?[\w/]{1,30}[\s\u00a0\u202f]?[!?]|#n/?[adv]|#(?:getting_data|(?:obtention|chargement)_donn[eé]es)"
    r"|err[\s\u00a0\u202f]?:[\s\u00a0\u202f]?[0-9]{3}",
    re.IGNORECASE,
)
_LONGEST_ERROR_WORD = 40
# A long number as spreadsheets shorten it, 1,23457E+14, or as programs in Java do, 1.23457E14. Its digits are lost.
_SHORTENED_NUMBER = re.compile(r"[+-]?[0-9](?:(?:[.,][0-9]+)?E\+|[.,][0-9]+E)[0-9]{1,3}", re.IGNORECASE)
# An export without the letter writes "Lef?bure". In a text with other signs a question mark means something else.
_NAME_PART = re.compile(r"[^\W\d_](?:[^\W\d_]|[ .'’-])*")
_LOCALE = re.compile(rf"({'|'.join(LOCALES)})(?:[-_](?:[a-z]{{2}}|[0-9]{{3}}))?", re.IGNORECASE | re.ASCII)
_NAME_CODES = (Code.MISSING_NAME, Code.UNSAFE_VALUE, Code.NAME_TOO_LONG)


class Person(NamedTuple):
    """A person who can be enrolled. It is a named tuple because one request makes 100,000 of them."""

    email_norm: str
    first_name: str
    last_name: str
    locale: str | None
    external_id: str | None


class Fault(NamedTuple):
    """One fault of a row, and the field to correct."""

    code: Code
    field: str


class Refusal(NamedTuple):
    """The first fault of a refused person, and the field to correct.

    Parameters:
      faults: every fault, the first one included, in the order of the fields; empty where there is only one.
      email_norm: the address, where it is valid: another row may have it too.
    """

    code: Code
    field: str
    faults: tuple[Fault, ...] = ()
    email_norm: str | None = None

    def repeating(self) -> "Refusal":
        """Returns this refusal with one more fault: an accepted person further up has the same address."""
        faults = self.faults or (Fault(self.code, self.field),)
        return self._replace(faults=(*faults, Fault(Code.DUPLICATE_IN_FILE, "email")))


def check_person(
    email: str, first_name: str, last_name: str, locale: str | None = None, external_id: str | None = None
) -> Person | Refusal:
    """Returns the person with clean values, or the refusal with every fault: address, names, language, staff number.

    A lone ``-``, ``.`` or ``—`` in one of the two names means that the person has no such name; it is then empty. An
    address that another row has too is not refused here, because that depends on the whole request.
    """
    email_norm = _clean_email(email)
    first, last = clean_names(first_name, last_name)
    language = None if locale is None else clean_locale(locale)
    identifier = None if external_id is None else clean_external_id(external_id)
    if (
        isinstance(email_norm, Code)
        or isinstance(first, Code)
        or isinstance(last, Code)
        or isinstance(language, Code)
        or isinstance(identifier, Code)
    ):
        return _refuse({"email": email_norm, "first_name": first, "last_name": last, "locale": language,
                        "external_id": identifier})  # fmt: skip
    return Person(email_norm, first, last, language, identifier)


def clean_names(first_name: str, last_name: str) -> tuple[str | Code, str | Code]:
    """Returns both names as ``clean_name`` does, and an empty one where a sign says that the person has no such name.

    Where both are such signs, both are ``MISSING_NAME``.
    """
    first, last = clean_name(first_name), clean_name(last_name)
    no_first, no_last = is_no_name(first), is_no_name(last)
    if no_first and no_last:
        return Code.MISSING_NAME, Code.MISSING_NAME
    return "" if no_first else first, "" if no_last else last


def is_no_name(text: str) -> bool:
    """Tells whether a text only says that there is no name: a hyphen, a dash or a dot alone."""
    return not text[:1].isalnum() and _NO_NAME.fullmatch(text) is not None


def printed_name(text: str) -> str:
    """Returns a name as it was typed; empty when it only says that there is none."""
    return "" if is_no_name(trim(text)) else text


def full_name(first_name: str, last_name: str) -> str:
    """Returns both names as they are printed, or the only one of a person who has one."""
    return f"{first_name} {last_name}".strip()


def is_error_word(text: str) -> bool:
    """Tells whether a text is what a French or English spreadsheet shows where it has no value."""
    trimmed = trim(text)
    if len(trimmed) > _LONGEST_ERROR_WORD:
        return trimmed.startswith("###") and not trimmed.strip("#")
    return _ERROR_WORD.fullmatch(trimmed) is not None


def clean_name(text: str) -> str | Code:
    """Returns a first or last name as certificates and mails show it: NFC, trimmed, single spaces.

    Nothing else changes: capitals, particles, HTML and texts like formulas stay as the company wrote them.

    Returns:
      The name; or ``MISSING_NAME`` if nothing is left or a spreadsheet's error word stands there, ``UNSAFE_VALUE`` if
      it holds a control or Bidi_Control character, half a surrogate pair, or signs of damage (U+FFFD, a question mark
      between letters, text that was encoded twice), ``NAME_TOO_LONG`` if it is over 100 code points.
    """
    if len(text) <= MAX_NAME and _ORDINARY_NAME.fullmatch(text):
        return text
    return clean_unusual_name(text)


def _lost_a_letter(name: str) -> bool:
    """Tells whether a name of letters, with its accents composed, has a question mark between two of them."""
    parts = name.split("?")
    inside = all(part[:1].isalpha() for part in parts[1:]) and all(part[-1:].isalpha() for part in parts[:-1])
    return len(parts) > 1 and inside and all(map(_NAME_PART.fullmatch, parts))


def clean_unusual_name(text: str) -> str | Code:
    """Applies the complete rule to any text; ``clean_name`` gives the same answer faster for ordinary names."""
    name = _WHITE_SPACE_RUN.sub(" ", trim(text))
    if not name or is_error_word(name):
        return Code.MISSING_NAME
    if _UNSAFE.search(name) or is_double_encoded(text):
        return Code.UNSAFE_VALUE
    composed = compose(name, MAX_NAME)
    if composed is None:
        return Code.NAME_TOO_LONG
    return Code.UNSAFE_VALUE if _lost_a_letter(composed) else composed


def clean_locale(text: str | None) -> str | Code | None:
    """Returns the language of mails: ``fr`` for ``fr``, ``FR`` or ``fr-BE``; None if the text is empty.

    A language without mails is ``INVALID_LOCALE``.
    """
    if text is None:
        return None
    asked = trim(text)
    if not asked or is_error_word(asked):
        return None
    known = _LOCALE.fullmatch(asked)
    return known[1].lower() if known else Code.INVALID_LOCALE


def clean_external_id(text: str | None) -> str | Code | None:
    """Returns the company's own number for the person, with its leading zeros; None if the text is empty.

    As for names, it may be refused with ``UNSAFE_VALUE``, also for a number that a spreadsheet has shortened
    (``1,23457E+14``), or ``VALUE_TOO_LONG`` (over 100 code points). An error word of a spreadsheet is no number.
    """
    if text is None:
        return None
    identifier = trim(text)
    if not identifier or is_error_word(identifier):
        return None
    if _UNSAFE.search(identifier) or _SHORTENED_NUMBER.fullmatch(identifier):
        return Code.UNSAFE_VALUE
    composed = compose(identifier, MAX_EXTERNAL_ID)
    return Code.VALUE_TOO_LONG if composed is None else composed


def _clean_email(text: str) -> str | Code:
    """Returns the address as ``normalise_email`` does; tells an error word and damage from a wrong address."""
    address = normalise_email(text)
    if address is not Code.INVALID_EMAIL:
        return address
    if is_error_word(text):
        return Code.MISSING_EMAIL
    return Code.UNSAFE_VALUE if "\ufffd" in text else address


def _refuse(values: Mapping[str, str | Code | None]) -> Refusal:
    """Refuses a person for every faulty value; the more serious fault of the two names comes first."""
    faults = [Fault(value, field) for field, value in values.items() if isinstance(value, Code)]
    faults.sort(key=_place)
    address = values["email"]
    valid = None if isinstance(address, Code) else address
    return Refusal(*faults[0], tuple(faults) if len(faults) > 1 else (), valid)


def _place(fault: Fault) -> tuple[int, int]:
    """Returns the place of a fault in the order of the fields, in which both names stand together."""
    if fault.field in ("first_name", "last_name"):
        return 1, _NAME_CODES.index(fault.code)
    return ("email", "", "locale", "external_id").index(fault.field), 0
