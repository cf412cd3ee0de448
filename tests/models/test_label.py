"""A label is a text that is safe in the subject of a mail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.label import clean_label, clean_reason, clean_reference, make_label
from models.words import Code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Transports Lorval", "Transports Lorval"),
        ("  Société d’Étude\n", "Société d’Étude"),
        ("Socie\u0301te\u0301", "Société"),
        ("\u200b« Excel »\xa0: niveau\xa02\ufeff", "« Excel »\xa0: niveau\xa02"),
        ("a  b", "a  b"),
        ("2 + 2 =? 4 ; oui", "2 + 2 =? 4 ; oui"),
        ("vrai ?= faux =? oui", "vrai ?= faux =? oui"),  # its end stands before its beginning
        ("=?=", "=?="),
        ("x" * 200, "x" * 200),
        ("e\u0301" * 200, "é" * 200),
        ("", Code.MISSING_NAME),
        (" \xa0\u200b\r\n", Code.MISSING_NAME),
        ("Lorval\nBcc: x@example.com", Code.UNSAFE_VALUE),
        ("Lorval\r\n\r\nBonjour", Code.UNSAFE_VALUE),
        ("a\tb", Code.UNSAFE_VALUE),
        ("a\0b", Code.UNSAFE_VALUE),
        ("a\x85b", Code.UNSAFE_VALUE),
        ("a\u2028b", Code.UNSAFE_VALUE),
        ("a\u2029b", Code.UNSAFE_VALUE),
        ("a\u202eb", Code.UNSAFE_VALUE),
        ("St\ufffdphane", Code.UNSAFE_VALUE),
        ("a\ud800", Code.UNSAFE_VALUE),
        ("=?utf-8?q?Lorval?=", Code.UNSAFE_VALUE),
        ("Lorval =?UTF-8?B?w6k=?= SA", Code.UNSAFE_VALUE),
        ("=??=", Code.UNSAFE_VALUE),
        ("x" * 201, Code.VALUE_TOO_LONG),
        ("x" * 1_000_000, Code.VALUE_TOO_LONG),
        ("=?x" * 300_000, Code.VALUE_TOO_LONG),
        ("a" + "\u0300\u0316" * 500_000, Code.VALUE_TOO_LONG),
        ("x" * 300 + "\0", Code.UNSAFE_VALUE),
    ],
)
def test_labels(text: str, expected: str | Code) -> None:
    assert clean_label(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" asked by phone ", "asked by phone"),
        ("zoe@example.com asked", Code.UNSAFE_VALUE),
        ("@", Code.UNSAFE_VALUE),
        ("zoe＠example.com", Code.UNSAFE_VALUE),
        ("a\nb", Code.UNSAFE_VALUE),
        ("", Code.MISSING_NAME),
        ("x" * 201, Code.VALUE_TOO_LONG),
    ],
)
def test_a_reason_holds_no_address(text: str, expected: str | Code) -> None:
    assert clean_reason(text) == expected


def test_a_label_has_the_limit_its_caller_sets() -> None:
    assert clean_label("abc", limit=3) == "abc"
    assert clean_label("abcd", limit=3) is Code.VALUE_TOO_LONG


@given(st.text())
def test_a_clean_label_is_one_line_and_stays_clean(text: str) -> None:
    label = clean_label(text)
    if not isinstance(label, Code):
        assert len(label.splitlines()) == 1
        assert clean_label(label) == label


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BC-2025/0042", "BC-2025/0042"),
        ("!~", "!~"),
        ("x" * 100, "x" * 100),
        ("", Code.MISSING_NAME),
        (" ", Code.UNSAFE_VALUE),
        ("BC 42", Code.UNSAFE_VALUE),
        ("BC42\n", Code.UNSAFE_VALUE),
        ("réf", Code.UNSAFE_VALUE),
        ("a\x7f", Code.UNSAFE_VALUE),
        ("a\0", Code.UNSAFE_VALUE),
        ("\ud800", Code.UNSAFE_VALUE),
        ("x" * 101, Code.VALUE_TOO_LONG),
        ("x" * 1_000_000, Code.VALUE_TOO_LONG),
    ],
)
def test_references(text: str, expected: str | Code) -> None:
    assert clean_reference(text) == expected


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("équipe mars.csv", "équipe mars.csv"),
        ("a\nb\x00.csv", "a_b_.csv"),
        ("\u202efdp.exe", "_fdp.exe"),
        ("=?utf-8?q?x?=", "_utf-8?q?x_"),
        ("  ", "file"),
        ("", "file"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
        ("\udce9.csv", "?.csv"),
    ],
)
def test_a_foreign_text_becomes_a_label(text: str, label: str) -> None:
    assert make_label(text, "file") == label
    assert clean_label(label) == label
