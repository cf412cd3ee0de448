"""These rules decide which facts of a person are kept, and the one code of a refused person."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.person import (
    Person,
    Refusal,
    check_person,
    clean_external_id,
    clean_locale,
    clean_name,
    clean_unusual_name,
)
from models.words import Code

EMAIL = "a@example.com"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Stéphane", "Stéphane"),
        ("Ste\u0301phane", "Stéphane"),
        ("d’Alméras", "d’Alméras"),
        ("L'Hostis", "L'Hostis"),
        ("  Marie \t\u3000 Hélène\xa0", "Marie Hélène"),
        ("Jean\r\nPaul", "Jean Paul"),
        ("Le\u2028Dû\x85", "Le Dû"),
        ("\u200bZoé\ufeff \xad", "Zoé"),
        ("Zo\u200bé", "Zo\u200bé"),
        ("<b>Ève</b>", "<b>Ève</b>"),
        ("D&eacute;sir&eacute;e", "D&eacute;sir&eacute;e"),
        ("=1+1", "=1+1"),
        ('Pierre "Pierrot"', 'Pierre "Pierrot"'),
        ("LEFEBVRE", "LEFEBVRE"),
        ("Null", "Null"),
        ("None", "None"),
        ("NA", "NA"),
        ("True", "True"),
        ("Nguyễn", "Nguyễn"),
        ("محمد", "محمد"),
        ("😀", "😀"),
        ("A" * 100, "A" * 100),
        ("é" * 100, "é" * 100),
        ("e\u0301" * 100, "é" * 100),
        (" " * 1_000_000 + "Zoé", "Zoé"),
        ("", Code.MISSING_NAME),
        (" \xa0\u200b \u2060", Code.MISSING_NAME),
        ("Nul\0octet", Code.UNSAFE_VALUE),
        ("\x1f", Code.UNSAFE_VALUE),
        ("Clo\x07che", Code.UNSAFE_VALUE),
        ("Échap\x1b[31m", Code.UNSAFE_VALUE),
        ("C1\x9f", Code.UNSAFE_VALUE),
        ("Rtl\u202eevil", Code.UNSAFE_VALUE),
        ("Iso\u2066late\u2069", Code.UNSAFE_VALUE),
        ("\u061c\u200e\u200f", Code.UNSAFE_VALUE),
        ("lone\ud800", Code.UNSAFE_VALUE),
        ("x" * 200 + "\0", Code.UNSAFE_VALUE),
        ("A" * 101, Code.NAME_TOO_LONG),
        ("é" * 101, Code.NAME_TOO_LONG),
        ("A " * 60, Code.NAME_TOO_LONG),
        ("x" * 1_000_000, Code.NAME_TOO_LONG),
        ("a" + "\u0300\u0316" * 500_000, Code.NAME_TOO_LONG),
    ],
)
def test_names(text: str, expected: str | Code) -> None:
    assert clean_name(text) == expected
    assert isinstance(clean_name(text), Code) == isinstance(expected, Code)


@given(
    st.text(alphabet=st.characters(codec="latin-1") | st.sampled_from("Œœ’\u0301\u200b\u202e\ud800é- '"), max_size=120)
)
def test_the_fast_path_agrees_with_the_complete_rule(text: str) -> None:
    assert clean_name(text) == clean_unusual_name(text)


@given(st.text())
def test_a_clean_name_is_nfc_and_stays_clean(text: str) -> None:
    name = clean_name(text)
    assert isinstance(name, Code) or (clean_name(name) == name == unicodedata.normalize("NFC", name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        (" \xa0", None),
        ("fr", "fr"),
        ("FR", "fr"),
        (" fr ", "fr"),
        ("fr-FR", "fr"),
        ("fr-be", "fr"),
        ("en_GB", "en"),
        ("en-001", "en"),
        ("de", Code.INVALID_LOCALE),
        ("french", Code.INVALID_LOCALE),
        ("fr-", Code.INVALID_LOCALE),
        ("fr;en", Code.INVALID_LOCALE),
        ("fr\0", Code.INVALID_LOCALE),
        ("\ud800", Code.INVALID_LOCALE),
        ("fr" * 500_000, Code.INVALID_LOCALE),
    ],
)
def test_locales(text: str | None, expected: str | Code | None) -> None:
    assert clean_locale(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        (" 00412 ", "00412"),
        ("A 7", "A 7"),
        ("x" * 100, "x" * 100),
        ("x" * 101, Code.VALUE_TOO_LONG),
        ("x" * 1_000_000, Code.VALUE_TOO_LONG),
        ("7\0", Code.UNSAFE_VALUE),
        ("7\n8", Code.UNSAFE_VALUE),
        ("7\u202e", Code.UNSAFE_VALUE),
        ("7\udfff", Code.UNSAFE_VALUE),
    ],
)
def test_external_ids(text: str | None, expected: str | Code | None) -> None:
    assert clean_external_id(text) == expected


def test_a_person_is_kept_clean() -> None:
    person = check_person(" A@Example.com", " Zoé ", "Le  Dû", "fr-FR", " 007 ")
    assert person == Person("a@example.com", "Zoé", "Le Dû", "fr", "007")
    assert check_person(EMAIL, "Zoé", "Le Dû") == Person(EMAIL, "Zoé", "Le Dû", None, None)


LONG = "x" * 101


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        (("", "", "\0", "de", LONG), Code.MISSING_EMAIL, "email"),
        (("a@b", "", "\0", "de", LONG), Code.INVALID_EMAIL, "email"),
        ((EMAIL, "", "\0", "de", LONG), Code.MISSING_NAME, "first_name"),
        ((EMAIL, "\0", "", "de", LONG), Code.MISSING_NAME, "last_name"),
        ((EMAIL, "", "", "de", LONG), Code.MISSING_NAME, "first_name"),
        ((EMAIL, LONG, "\0", "de", LONG), Code.UNSAFE_VALUE, "last_name"),
        ((EMAIL, "a\ud800", "Dû", "de", LONG), Code.UNSAFE_VALUE, "first_name"),
        ((EMAIL, LONG, "Dû", "de", LONG), Code.NAME_TOO_LONG, "first_name"),
        ((EMAIL, "Zoé", LONG, "de", LONG), Code.NAME_TOO_LONG, "last_name"),
        ((EMAIL, "Zoé", "Dû", "de", LONG), Code.INVALID_LOCALE, "locale"),
        ((EMAIL, "Zoé", "Dû", "fr", LONG), Code.VALUE_TOO_LONG, "external_id"),
        ((EMAIL, "Zoé", "Dû", None, "\t7\x07"), Code.UNSAFE_VALUE, "external_id"),
    ],
)
def test_a_refusal_begins_with_the_first_fault_and_its_field(
    fields: tuple[str, str, str, str | None, str], code: Code, field: str
) -> None:
    refused = check_person(*fields)
    assert isinstance(refused, Refusal)
    assert refused[:2] == (code, field)


@given(st.text(), st.text(), st.text(), st.none() | st.text(), st.none() | st.text())
def test_any_five_texts_get_an_answer(
    email: str, first_name: str, last_name: str, locale: str | None, external_id: str | None
) -> None:
    assert isinstance(check_person(email, first_name, last_name, locale, external_id), Person | Refusal)
