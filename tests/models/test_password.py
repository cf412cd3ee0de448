"""These rules decide which passwords are accepted and how long wrong ones lock an account."""

import time

import pytest

from models.password import (
    COMMON_PASSWORDS,
    FREE_TRIES,
    LEAST_GUESSES,
    WAITS,
    WHOLE_PASSWORD,
    check_password,
    compose_password,
    guesses,
    is_common,
    is_personal,
    lock_seconds,
    plain_letters,
)
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
        ("Kartoffelpuffer", Code.PASSWORD_TOO_COMMON),  # on the list, capitals do not matter
        ("manchester united", Code.PASSWORD_TOO_COMMON),  # spaces do not matter either
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
def test_the_passwords_attackers_guess_first(password: str, expected: Code | None) -> None:
    assert check_password(password, password, OWN) is expected


def test_the_hashed_form_is_composed_once_and_for_all() -> None:
    assert compose_password("e\u0301") == compose_password("é") == "é"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("a", 1),
        ("aaaaaaaaaaaaaaa", 1),
        ("abcdefghijklmno", 1),
        ("zyxwvutsrqponml", 1),
        ("123456789987654321", 1),
        ("1234567890azertyuiop", 2),
        ("qwertyuiopasdfghjkl", 2),
        ("1a2z3e4r5t6y7u8i", 2),  # two rows typed in turn
        ("1q2w3e4r5t6y7u8i", 2),
        ("1qaz2wsx3edc4rfv", 3),
        ("111222333444555", 1),
        ("abcabcabcabcabca", 1),  # a repetition; the last one is incomplete
        ("xkqxkqxkqxkqxkq", 3),
        ("quatre mots bien longs", 18),
        ("correct horse battery staple", 21),
    ],
)
def test_guesses(text: str, expected: int) -> None:
    assert guesses(text) == expected


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((), False),
        (("",), False),
        (("zo",), False),  # too short to be searched for
        (("lemaitre",), True),
        (("Lemaître",), True),
        (("zoe.lemaitre@x.test",), True),
        (("mai", "lemur"), False),  # "zoeletre26" is left
    ],
)
def test_personal(own: tuple[str, ...], expected: bool) -> None:
    assert is_personal("Zoé Le Maître 26", own) is expected


def test_the_list_is_read_as_it_is_compared() -> None:
    entries = [line for line in COMMON_PASSWORDS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert len(entries) == len(set(entries)) > 100
    assert all(entry == plain_letters(entry) and len(entry) >= LEAST_GUESSES for entry in entries)
    assert sum(len(entry) >= WHOLE_PASSWORD for entry in entries) > 50
    assert all(is_common(entry) for entry in entries)


def test_the_longest_text_is_judged_quickly() -> None:
    begun = time.process_time()
    for text in ("ab" * 128, "a" * 255 + "b", "é" * 256, "password" * 32):
        is_common(text)
        is_personal(text, ("a" * 64 + "@" + "b" * 180, "a" * 100, "b" * 100))
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (1, 0), (4, 0), (5, 60), (6, 300), (7, 900), (8, 3_600), (9, 3_600), (1_000_000, 3_600)],
)
def test_each_further_failure_locks_for_longer(failures: int, seconds: int) -> None:
    assert lock_seconds(failures) == seconds


def test_a_hundred_tries_take_days() -> None:
    """NIST SP 800-63B-4, 3.2.2 allows at most a hundred wrong tries in a row; at this pace they take days."""
    assert sum(lock_seconds(failures) for failures in range(100)) > 3 * 24 * 3_600
    assert list(WAITS) == sorted(WAITS)
    assert FREE_TRIES < 10
