"""Codes on certificates: read as people type them, and a typing error is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.verification_code import ALPHABET, grouped, new_code, read_code


def test_a_new_code_is_read_back_as_it_is_printed() -> None:
    for _ in range(200):
        code = new_code()
        assert read_code(grouped(code)) == code
        assert len(code) == 16


def test_two_codes_are_never_the_same() -> None:
    assert len({new_code() for _ in range(1_000)}) == 1_000


def test_the_check_character_is_crockfords() -> None:
    # 1234 in base 32 is 16J; 1234 mod 37 is 13, which is D.
    assert read_code("0000-0000-0000-16JD") == "00000000000016JD"


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("0000-0000-0000-16jd", "00000000000016JD"),
        (" OOOO oooo 0000-I6JD ", "00000000000016JD"),
        ("OOOOoooo0000l6jd", "00000000000016JD"),
        ("0000-0000-0000-16JE", None),
        ("0000-0000-0000-16J", None),
        ("0000-0000-0000-16J*", None),
        ("0000-0000-0000-16JU", None),
        ("", None),
        ("../../etc/passwd", None),
        ("0" * 100_000, None),
        ("\x00" * 16, None),
    ],
)
def test_what_was_typed(typed: str, read: str | None) -> None:
    assert read_code(typed) == read


@given(st.integers(0, 15), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_always_told(place: int, other: str) -> None:
    code = new_code()
    typed = code[:place] + other + code[place + 1 :]
    assert read_code(typed) == (code if typed == code else None)


@given(st.integers(0, 14))
def test_two_neighbours_that_changed_places_are_told(place: int) -> None:
    code = new_code()
    swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    assert read_code(swapped) == (code if swapped == code else None)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    code = read_code(text)
    assert code is None or len(code) == 16
