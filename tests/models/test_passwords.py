"""Passwords: length is the only rule."""

import pytest

from models.passwords import check_password, compose_password
from models.words import Code

FIFTEEN = "quinze lettres!"


@pytest.mark.parametrize(
    ("password", "again", "expected"),
    [
        (FIFTEEN, FIFTEEN, None),
        ("a" * 15, "a" * 15, None),  # no composition rule
        (" " * 15, " " * 15, None),
        ("é" * 15, "e\u0301" * 15, None),  # two keyboards, one password
        ("😀" * 15, "😀" * 15, None),
        ("a" * 256, "a" * 256, None),
        ("e\u0301" * 256, "e\u0301" * 256, None),
        ("", "", Code.PASSWORD_TOO_SHORT),
        ("a" * 14, "a" * 14, Code.PASSWORD_TOO_SHORT),
        ("e\u0301" * 14, "e\u0301" * 14, Code.PASSWORD_TOO_SHORT),
        ("😀" * 14, "😀" * 14, Code.PASSWORD_TOO_SHORT),
        ("a" * 14, "b", Code.PASSWORD_TOO_SHORT),
        ("a" * 257, "a" * 257, Code.PASSWORD_TOO_LONG),
        ("a" * 1_000_000, "b", Code.PASSWORD_TOO_LONG),
        ("a" + "\u0300\u0316" * 500_000, "b", Code.PASSWORD_TOO_LONG),
        (FIFTEEN, FIFTEEN + " ", Code.PASSWORDS_DIFFER),
        (FIFTEEN, FIFTEEN.upper(), Code.PASSWORDS_DIFFER),
        (FIFTEEN, "", Code.PASSWORDS_DIFFER),
        (FIFTEEN, "a" + "\u0300\u0316" * 500_000, Code.PASSWORDS_DIFFER),
        (FIFTEEN + "\ud800", FIFTEEN + "\ud800", Code.UNSAFE_VALUE),
    ],
)
def test_passwords(password: str, again: str, expected: Code | None) -> None:
    assert check_password(password, again) is expected


def test_the_hashed_form_is_composed_once_and_for_all() -> None:
    assert compose_password("e\u0301") == compose_password("é") == "é"
