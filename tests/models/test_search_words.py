"""Words of participants, and which of them a search finds."""

import pytest

from models.search_words import LONGEST_WORD, MOST_WORDS, first_found, is_found, searched_words, words_of


def test_words_are_in_small_letters_without_accents() -> None:
    assert words_of("Zoé", "Lefèvre-Œuvrard", "zoe.l@example.fr", "EMP-00042") == (
        "lefevre oeuvrard zoe emp 00042 zoe.l@example.fr"
    )


def test_a_word_stands_once() -> None:
    assert words_of("Martin", "Martin", "martin@example.fr", "martin") == "martin martin@example.fr"


def test_words_are_bounded_and_the_address_is_kept() -> None:
    words = words_of("a" * 100, " ".join("bcdefghijklmnopqrstuvwxyz"), "ada@example.fr", None).split(" ")
    assert len(words) == MOST_WORDS
    assert words[-1] == "ada@example.fr"
    assert max(map(len, words)) <= LONGEST_WORD


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("Lefèvre", ["lefevre"]),
        ("  ZOÉ   LEFÈVRE ", ["lefevre", "zoe"]),
        ("ada@example.fr", ["ada@example.fr"]),
        ("@example.fr", ["example", "fr"]),
        ("EMP-00042", ["00042", "emp"]),
        ("mar martin", ["martin"]),
        ("straße", ["strasse"]),
        ("%_*'\\", []),
        ("\u0301\u0300", []),
        ("北京", ["北京"]),
    ],
)
def test_a_search_has_these_words(typed: str, words: list[str]) -> None:
    assert sorted(searched_words(typed)) == sorted(words)


def test_a_search_is_bounded() -> None:
    assert len(searched_words(" ".join("abcdefghijkl"))) == 6
    assert max(map(len, searched_words("a" * 10_000))) == LONGEST_WORD


def test_each_searched_word_must_begin_a_word() -> None:
    own = ["lefevre", "zoe", "zoe@example.fr"]
    assert is_found(own, ["lef", "zo"])
    assert not is_found(own, ["lef", "x"])
    assert first_found(own, "zo") == "zoe"
    assert first_found(own, "x") is None
