"""These rules decide the colours that are readable, the numbers the law asks for, and the names of files."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.document import (
    LEAST_CONTRAST,
    MOST_NAME,
    Document,
    clean_activity_number,
    clean_colour,
    clean_siret,
    contrast_with_white,
    document_file_name,
    plain_name,
)
from models.words import Code


@pytest.mark.parametrize(
    ("typed", "colour"),
    [
        ("#1b3a5f", "#1b3a5f"),
        (" #1B3A5F\n", "#1b3a5f"),
        ("#000000", "#000000"),
        ("#767676", "#767676"),  # 4.54 : 1
        ("#777777", Code.LOW_CONTRAST),  # 4.48 : 1
        ("#ffffff", Code.LOW_CONTRAST),
        ("#ffff00", Code.LOW_CONTRAST),
        ("#0000ff", "#0000ff"),
        ("#ff0000", Code.LOW_CONTRAST),  # 4.00 : 1
        ("#e60000", "#e60000"),
        ("#00ff00", Code.LOW_CONTRAST),
        *[(wrong, Code.INVALID_COLOUR) for wrong in (
            *("", "#", "#fff", "#1b3a5", "#1b3a5f0", "#1b3a5g", "1b3a5f", "red", "rgb(0,0,0)", "##1b3a5f"),
            *("#1b3a5f;}", "#١٢٣٤٥٦", "#１b3a5f", "#1b3a5f\x00", "#000000#", '"#000000"', "#-12345"),
        )],
    ],
)  # fmt: skip
def test_a_colour_is_accepted_if_text_in_it_can_be_read(typed: str, colour: str | Code) -> None:
    assert clean_colour(typed) == colour


@pytest.mark.parametrize(
    ("colour", "ratio"),
    [
        ("#000000", 21.0),
        ("#ffffff", 1.0),
        ("#ff0000", 3.998),
        ("#767676", 4.542),
        ("#0a0a0a", 19.80),
        ("#1b3a5f", 11.5),
    ],
)
def test_contrast_is_that_of_wcag(colour: str, ratio: float) -> None:
    assert contrast_with_white(colour) == pytest.approx(ratio, abs=0.06)


@given(st.integers(0, 0xFFFFFF))
def test_every_colour_is_accepted_or_too_light(number: int) -> None:
    colour = f"#{number:06x}"
    readable = contrast_with_white(colour) >= LEAST_CONTRAST
    assert clean_colour(colour) == (colour if readable else Code.LOW_CONTRAST)


@given(st.text(max_size=30))
def test_any_text_is_a_colour_or_none(text: str) -> None:
    assert clean_colour(text) in (Code.INVALID_COLOUR, Code.LOW_CONTRAST, text.strip().lower())


SIRET = "73282932000074"
LA_POSTE = "35600000000048"  # La Poste's head office, which the usual checksum accepts too
POST_OFFICE = "35600000049837"  # La Poste's branches: only the plain sum of the digits is a multiple of 5


@pytest.mark.parametrize(
    ("typed", "siret"),
    [
        (SIRET, SIRET),
        ("732 829 320 00074", SIRET),
        ("732\u00a0829\u202f320\t00074\n", SIRET),
        (LA_POSTE, LA_POSTE),
        (POST_OFFICE, POST_OFFICE),
        *[(wrong, Code.INVALID_SIRET) for wrong in (
            *("73282932000075", "37282932000074", "35600000049838", "00000000000000"),
            *("", "732829320", "7328293200007", "732829320000740", "7328293200007A", "-7328293200007"),
            *("٧٣٢٨٢٩٣٢٠٠٠٠٧٤", "７３２８２９３２０００07４", "732.829.320.00074"),
            *("FR73282932000074", "73282932000074\x00"),
        )],
    ],
)  # fmt: skip
def test_siret(typed: str, siret: str | Code) -> None:
    assert clean_siret(typed) == siret


@given(st.integers(0, 13), st.integers(0, 9))
def test_one_wrong_digit_of_a_siret_is_always_detected(place: int, digit: int) -> None:
    typed = SIRET[:place] + str(digit) + SIRET[place + 1 :]
    assert clean_siret(typed) == (SIRET if typed == SIRET else Code.INVALID_SIRET)


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("11755555575", "11755555575"),
        ("11 75 55555 75", "11755555575"),
        ("93 2A 12345 20", "932A1234520"),
        ("932b1234520", "932B1234520"),
        ("04973123497", "04973123497"),
        *[(wrong, Code.INVALID_ACTIVITY_NUMBER) for wrong in (
            *("", "1175555557", "117555555755", "11C55555575", "2A755555575", "932C1234520", "11755555 5A5"),
            *("١١٧٥٥٥٥٥٥٧٥", "11-75-55555-75", "11755555575\x00", "n° 11755555575"),
        )],
    ],
)  # fmt: skip
def test_activity_number(typed: str, number: str | Code) -> None:
    assert clean_activity_number(typed) == number


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    siret, number = clean_siret(text), clean_activity_number(text)
    assert siret is Code.INVALID_SIRET or (siret.isascii() and len(siret) == 14)
    assert number is Code.INVALID_ACTIVITY_NUMBER or (number.isascii() and len(number) == 11)


SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?!-)){0,23}")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Zoé", "Zoe"),
        ("Zoe\u0301", "Zoe"),
        ("Le Dû", "Le-Du"),
        ("O’Brien-d'Arc", "O-Brien-d-Arc"),
        ("Œuvre Straße Łódź Ægir Øre đ ı", "OEuvre-Strasse-Lodz-AEgi"),
        ("ﬁ ① ²", "fi-1-2"),
        ("Ｆｕｌｌ", "Full"),
        ("../../etc/passwd", "etc-passwd"),
        ("..\\..\\a", "a"),
        ("C:\\CON", "C-CON"),
        ('a"b;c=d\r\nX: y', "a-b-c-d-X-y"),
        ("a\u202egpj.exe", "a-gpj-exe"),
        ("a\x00b", "a-b"),
        ("--", ""),
        ("", ""),
        ("محمد", ""),
        ("山田", ""),
        ("🎓", ""),
        ("half \ud83d", "half"),
        ("x" * 500, "x" * MOST_NAME),
        ("x" * (MOST_NAME - 1) + " y", "x" * (MOST_NAME - 1)),
        ("=1+1", "1-1"),
    ],
)
def test_a_name_in_the_name_of_a_file(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@given(st.text(st.characters(), max_size=120))
def test_any_name_is_safe(name: str) -> None:
    plain = plain_name(name)
    assert plain == "" or SAFE.fullmatch(plain)
    assert not plain.endswith("-")


@pytest.mark.parametrize(
    ("document", "locale", "people", "name"),
    [
        (Document.ATTESTATION, "fr", ("Zoé", "Le Dû"), "attestation-Le-Du-Zoe-2026-000042-D1.pdf"),
        (Document.ATTESTATION, "en", ("Zoé", "Le Dû"), "certificate-Le-Du-Zoe-2026-000042-D1.pdf"),
        (Document.REALISATION, "fr", ("Zoé", ""), "certificat-de-realisation-Zoe-2026-000042-D1.pdf"),
        (Document.REALISATION, "en", ("", ""), "certificate-of-completion-2026-000042-D1.pdf"),
        (Document.ATTESTATION, "fr", ("محمد", "CON"), "attestation-CON-2026-000042-D1.pdf"),
    ],
)
def test_the_name_of_a_document(document: Document, locale: str, people: tuple[str, str], name: str) -> None:
    assert document_file_name(document, locale, *people, "2026-000042-D1") == name


def test_the_longest_name_of_a_file_fits_every_system() -> None:
    name = document_file_name(Document.REALISATION, "fr", "W" * 100, "W" * 100, "2026-1000000-D1000")
    assert len(name) <= 120
