"""Colours on certificates: what text can be read in on white."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.branding import LEAST_CONTRAST, clean_colour, contrast_with_white
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
def test_a_colour_is_taken_when_text_can_be_read_in_it(typed: str, colour: str | Code) -> None:
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
def test_every_colour_is_taken_or_too_light(number: int) -> None:
    colour = f"#{number:06x}"
    readable = contrast_with_white(colour) >= LEAST_CONTRAST
    assert clean_colour(colour) == (colour if readable else Code.LOW_CONTRAST)


@given(st.text(max_size=30))
def test_any_text_is_a_colour_or_none(text: str) -> None:
    assert clean_colour(text) in (Code.INVALID_COLOUR, Code.LOW_CONTRAST, text.strip().lower())
