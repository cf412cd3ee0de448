"""Numbers French law wants on certificates: a typing error is told before anything is printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.legal_numbers import clean_activity_number, clean_siret
from models.words import Code

SIRET = "73282932000074"
LA_POSTE = "35600000000048"  # its seat, which the common sum accepts too
POST_OFFICE = "35600000049837"  # of which only the plain sum is a multiple of 5


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
def test_one_wrong_digit_of_a_siret_is_always_told(place: int, digit: int) -> None:
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
