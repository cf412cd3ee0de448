"""Passwords: long, and nothing that is guessed first; no other rule."""

import pytest

from models.passwords import check_password, compose_password
from models.words import Code

FIFTEEN = "quinze lettres!"
LONGEST = "".join(chr(0x4E00 + 7 * number) for number in range(256))
OWN = ("elodie.durand@acme.test", "Élodie", "Le Dû-Durand", "Atelier Pro")


@pytest.mark.parametrize(
    ("password", "again", "expected"),
    [
        (FIFTEEN, FIFTEEN, None),
        ("quatre mots bas", "quatre mots bas", None),  # no composition rule
        ("un été à la mer", "un e\u0301te\u0301 a\u0300 la mer", None),  # two keyboards, one password
        ("😀😃😄😁😆😅🤣😂🙂🙃😉😊😇🥰😍", "😀😃😄😁😆😅🤣😂🙂🙃😉😊😇🥰😍", None),
        (LONGEST, LONGEST, None),
        ("e\u0301l" * 127 + "fini", "él" * 127 + "fini", Code.PASSWORD_TOO_LONG),
        ("a" * 256, "a" * 256, Code.PASSWORD_TOO_COMMON),
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


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("1234567890qwerty", Code.PASSWORD_TOO_COMMON),
        ("Kartoffelpuffer", Code.PASSWORD_TOO_COMMON),  # of the list, whatever the capitals
        ("manchester united", Code.PASSWORD_TOO_COMMON),  # and spaces
        ("motdepasse12345", Code.PASSWORD_TOO_COMMON),
        ("Mot-de-passe 2026!", Code.PASSWORD_TOO_COMMON),
        ("AzertyAzertyAzerty", Code.PASSWORD_TOO_COMMON),
        ("passwordpasswordp", Code.PASSWORD_TOO_COMMON),
        ("elodie durand 12345", Code.PASSWORD_TOO_PERSONAL),
        ("ELODIE.DURAND@ACME.TEST", Code.PASSWORD_TOO_PERSONAL),
        ("lé dû durand élodie", Code.PASSWORD_TOO_PERSONAL),
        ("atelier pro 12345", Code.PASSWORD_TOO_PERSONAL),
        ("AtelierProAtelierPro", Code.PASSWORD_TOO_PERSONAL),
        ("la fille de Durand aime lire", None),
        ("quatre mots bien longs", None),
        ("correct horse battery staple", None),
    ],
)
def test_what_is_guessed_first(password: str, expected: Code | None) -> None:
    assert check_password(password, password, OWN) is expected


def test_the_hashed_form_is_composed_once_and_for_all() -> None:
    assert compose_password("e\u0301") == compose_password("é") == "é"
