"""What somebody who guesses tries first."""

import time

import pytest

from models.guessing import COMMON, LEAST_GUESSES, LONG, guesses, is_common, is_personal, plain


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
        ("abcabcabcabcabca", 1),  # a repetition, the last one cut
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
        (("zo",), False),  # too short to be looked for
        (("lemaitre",), True),
        (("Lemaître",), True),
        (("zoe.lemaitre@x.test",), True),
        (("mai", "lemur"), False),  # "zoeletre26" is left
    ],
)
def test_personal(own: tuple[str, ...], expected: bool) -> None:
    assert is_personal("Zoé Le Maître 26", own) is expected


def test_the_list_is_read_as_it_is_compared() -> None:
    entries = [line for line in COMMON.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert len(entries) == len(set(entries)) > 100
    assert all(entry == plain(entry) and len(entry) >= LEAST_GUESSES for entry in entries)
    assert sum(len(entry) >= LONG for entry in entries) > 50
    assert all(is_common(entry) for entry in entries)


def test_the_longest_text_is_judged_in_no_time() -> None:
    begun = time.process_time()
    for text in ("ab" * 128, "a" * 255 + "b", "é" * 256, "password" * 32):
        is_common(text)
        is_personal(text, ("a" * 64 + "@" + "b" * 180, "a" * 100, "b" * 100))
    assert time.process_time() - begun < 1.0
