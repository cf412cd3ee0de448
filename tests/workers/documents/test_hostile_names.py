"""Documents stay one page with correct text, with hostile names and with very long values."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.document import Document
from tests.kit.builders.documents import (
    ISSUER,
    pages,
    pdf_of,
    printed,
    text_of,
)
from workers.documents.contents import contents
from workers.documents.printable import breakable, printable


def spoken(text: str) -> str:
    return " ".join(printable(text).split())


HOSTILE = [
    '#panic("x") *gras* $x^2$ @ref <label> `raw` // /* \\u{1F600}',
    "<b>Anne</b> & \"Co\" 'x'",
    '#read("/etc/passwd") #import "@preview/x"',
    '","learner":"Autre',
    "Zoé 🎓👩‍🎓",
    "A\u0301\u0328\u0300" * 8,
    "a\u202eb\u2066c",
    "x\x00y\x07z\x1b",
    "half \ud83d pair",
    "private \ue000 use \uffff",
    "\u200b\u2060\ufeff",
    "山田太郎 한글 ไทย देव",
    "محمد عبد الله",
    "בן־דוד",
    "Ωνάσης Живаго Nguyễn Łódź İstanbul",
    "W" * 100,
    "i" * 100,
    "été " * 25,
    "{first} %s {{ 7 * 7 }}",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("document", Document)
def test_hostile_and_odd_names_are_printed_as_they_are(document: Document, name: str) -> None:
    pdf = pdf_of(document, first_name=name, last_name=name, employer=name, title=name, objectives=(name,) * 3)
    text = text_of(pdf)
    assert pages(pdf) == 1
    assert "DUPLICATA" in text
    assert "2026-000042-D1" in text
    if not re.search("[\u0590-\u08ff]", name):  # right-to-left text comes in the order of the page
        assert spoken(f"{name} {name}") in text or spoken(f"{name} {name}").replace(" ", "") in text.replace(" ", "")


@given(
    st.text(st.characters(), max_size=100), st.text(st.characters(), max_size=100), st.sampled_from(Document),
    st.sampled_from(["fr", "en"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_name_is_printed_on_one_page(first_name: str, last_name: str, document: Document, locale: str) -> None:
    pdf = pdf_of(document, locale, first_name=first_name, last_name=last_name, title=first_name, employer=last_name)
    assert pages(pdf) == 1
    assert "2026-000042-D1" in text_of(pdf)


def test_the_longest_of_everything_is_one_page() -> None:
    words, word = ("mot " * 50)[:200], "W" * 200
    for long in (words, word):
        issuer = ISSUER.model_copy(update=dict.fromkeys(("legal_name", "signatory_name", "place"), long))
        issuer = issuer.model_copy(update={"signatory_quality": long, "address": (long,) * 5, "activity_region": long})
        for document in Document:
            pdf = pdf_of(document, issuer=issuer, employer=long, title=long, objectives=(long,) * 10,
                       first_name=long[:100], last_name=long[:100])  # fmt: skip
            assert pages(pdf) == 1


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("Zoé", "Zoé"),
        ("Zoe\u0301", "Zoé"),
        ("a\x00b\u202ec\ue000d", "abcd"),
        ("Zoé 🎓👩‍🎓!", "Zoé \ufffd\u200d\ufffd!"),
        ("half \ud83d pair", "half ? pair"),
        ("م\u200cن", "م\u200cن"),
        ("a \u3000 b", "a b"),
    ],
)
def test_a_character_without_a_glyph_is_shown_as_missing(text: str, drawn: str) -> None:
    assert printable(text) == drawn


def test_only_what_is_no_name_is_broken() -> None:
    assert breakable("W" * 41).count("\u200b") == 4
    assert breakable("W" * 40) == "W" * 40
    assert "\u200b" not in str(contents(printed(first_name="W" * 100), Document.ATTESTATION, "fr", {})["learner"])
