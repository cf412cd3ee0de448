"""Names at their limits and in any script are printed, or refused with a code; no document fails."""

import io
import subprocess
import unicodedata
from pathlib import Path

import pikepdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.document import Document
from models.person import MAX_NAME, clean_name
from models.words import Code
from tests.kit.builders.documents import (
    EVERY,
    OUTLOUD,
    URL,
    pages,
    pdf_of,
)
from tests.kit.system import run
from workers.documents import renderer
from workers.documents.printable import (
    _characters,
    of_one_font,
    printable,
    without_marks,
)
from workers.documents.renderer import NotRendered, Undrawable

KNOWN = sorted(map(chr, _characters()))
MARKS = [one for one in KNOWN if unicodedata.category(one) in ("Mn", "Mc", "Me")]

# Each character is in the fonts, but side by side Typst finds no glyph for one of them.
UNDRAWABLE = [
    "\u0623\u2de8\u061b\u0309",  # an Arabic letter, a Cyrillic mark, an Arabic sign, a Latin mark
    "\u06f7\u2026\u08d4",  # an Arabic digit, an ellipsis, a mark of recitation
    "\u1ab8\u0670 \u05ab",  # marks of three scripts without a letter
    "\u0657\u200c\u0653\u1abc",  # marks on both sides of a non-joiner
]
RIGHT_TO_LEFT = ["محمد عبد الله", "בן־דוד", "گل‌نار"]
POINTED = ["مُحَمَّد", "שָׁלוֹם"]


def said(pdf: bytes) -> str:
    """Returns the text of a PDF in reading order."""
    text = run("pdftotext", "-", "-", given=pdf)
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("a\x00b", Code.UNSAFE_VALUE),
        ("half \ud83d pair", Code.UNSAFE_VALUE),
        ("a\u202eb", Code.UNSAFE_VALUE),
        ("a\u2066b", Code.UNSAFE_VALUE),
        ("\u200b\u2060\ufeff", Code.MISSING_NAME),
        ("W" * (MAX_NAME + 1), Code.NAME_TOO_LONG),
        ("W" * MAX_NAME, None),
        ("mot " * 24 + "mots", None),
        ("#strong[a] *b* _c_ $x^2$ @ref <l> `r` \\ // /*", None),
        ('<b onclick="x">Anne</b> &amp; &lt;', None),
        ("e\u0301" * 50, None),
        ("Ωνάσης Живаго Nguyễn Łódź İstanbul ŉ ǅ", None),
        ("fi fl ffi ﬁancé ĳ …", None),
        ("O’Neill-d'Arc, « fils » – 2ᵉ", None),
        ("1234567890", None),
        ("-_-", None),
    ],
)
@pytest.mark.parametrize("document", Document)
def test_a_name_is_refused_with_a_code_or_printed_to_the_letter(
    document: Document, name: str, refused: Code | None
) -> None:
    cleaned = clean_name(name)
    if refused is not None:
        assert cleaned is refused
        return
    assert not isinstance(cleaned, Code)
    text = said(pdf_of(document, first_name=cleaned, last_name="Fin"))
    assert "".join(f"{cleaned} Fin".split()) in "".join(text.split())
    assert "2026-000042-D1" in text
    assert "DUPLICATA" in text


@pytest.mark.parametrize("name", RIGHT_TO_LEFT)
@pytest.mark.parametrize("document", Document)
def test_a_name_from_right_to_left_is_found_in_the_text(document: Document, name: str) -> None:
    text = said(pdf_of(document, first_name=name, last_name="Roy"))
    letters = "".join(name.split()).replace("\u200c", "")
    assert letters in "".join(text.split()).replace("\u200c", "")
    assert "DUPLICATA" in text


@pytest.mark.parametrize("name", [*RIGHT_TO_LEFT, *POINTED])
def test_the_title_of_a_document_names_the_person_to_the_letter(name: str) -> None:
    """This also holds with vowel points, where pdftotext repeats letters: Typst writes a cluster for each of its
    glyphs.
    """
    with (
        pikepdf.open(io.BytesIO(pdf_of(first_name=name, last_name="Roy"))) as opened,
        opened.open_metadata() as metadata,
    ):
        assert metadata["dc:title"].endswith(f"– {printable(name)} Roy")


@pytest.mark.parametrize("name", UNDRAWABLE)
@pytest.mark.parametrize("document", Document)
def test_signs_no_font_draws_together_lose_marks_but_the_document_is_made(document: Document, name: str) -> None:
    pdf = pdf_of(document, first_name=name, last_name="Lé Dû", employer=name, title=f"{name} {name}")
    text = said(pdf)
    assert pages(pdf) == 1
    assert "Lé Dû" in text
    assert "2026-000042-D1" in text
    assert pdf_of(document, first_name=name, last_name="Lé Dû", employer=name, title=f"{name} {name}") == pdf


@given(
    st.lists(st.text(st.sampled_from(KNOWN) | st.sampled_from(MARKS), max_size=60), min_size=4, max_size=4),
    st.sampled_from(Document),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_character_of_the_fonts_is_printed_on_one_page(texts: list[str], document: Document) -> None:
    first_name, last_name, title, employer = texts
    pdf = pdf_of(document, first_name=first_name, last_name=last_name, title=title, employer=employer)
    assert pages(pdf) == 1


def test_when_even_plain_letters_cannot_be_drawn_the_document_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def never(_: object, __: Document, data: dict[str, str], ___: object) -> bytes:
        asked.append(data["learner"])
        raise Undrawable("no glyph")

    monkeypatch.setattr(renderer.RenderFolder, "compile", never)
    with pytest.raises(NotRendered):
        pdf_of(first_name="m\u0331ى", last_name="Lé")
    assert asked == ["m\u0331ى Lé", "mى Lé", "m\ufffd Lé"]


def test_plainer_texts_keep_composed_letters() -> None:
    assert without_marks("Ze\u0301 Nguyễn m\u0331 گل\u200cنار") == "Zé Nguyễn m گلنار"
    assert of_one_font("Zé محمد Живаго 山") == "Zé \ufffd\ufffd\ufffd\ufffd Живаго \ufffd"


@pytest.mark.parametrize("name", ["\ue000", "\U000e0041", "\x00"])
def test_a_name_nothing_of_which_can_be_drawn_is_shown_as_such(name: str) -> None:
    assert "\ufffd" in said(pdf_of(first_name=name, last_name=name))


def test_a_hostile_document_changes_none_that_is_made_after_it() -> None:
    before = pdf_of()
    for name in (*UNDRAWABLE, "#set page(width: 1cm)", '#let learner = "x"'):
        pdf_of(first_name=name, last_name=name, title=name)
    assert pdf_of() == before


@pytest.mark.parametrize(("document", "locale"), EVERY)
def test_hostile_documents_are_pdf_a_and_pdf_ua_too(document: Document, locale: str, tmp_path: Path) -> None:
    file = tmp_path / "a.pdf"
    first, last = "<b>Zoé</b> 🎓 #x", "محمد בן W" + "W" * 80
    file.write_bytes(pdf_of(document, locale, first_name=first, last_name=last, title="i" * 200, employer="é ß " * 40,
                          objectives=("$x$", "山田", "מ" * 100)))  # fmt: skip
    run("qpdf", "--check", file)
    with pikepdf.open(io.BytesIO(file.read_bytes())) as opened, opened.open_metadata() as metadata:
        assert (metadata["pdfaid:part"], metadata["pdfaid:conformance"], metadata["pdfuaid:part"]) == ("2", "A", "1")
        assert printable(f"{first} {last}") in metadata["dc:title"]
        assert str(opened.Root.Lang).startswith(locale)
    told = run("pdfinfo", "-isodates", file)
    assert "CreationDate:    2026-03-10T09:00:00Z" in told
    assert "ModDate:         2026-03-10T09:00:00Z" in told
    assert "Author:          Formation Pro SAS" in told
    checked = subprocess.run([OUTLOUD, "--no-info", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    run("pdftoppm", "-r", "150", "-png", "-singlefile", file, tmp_path / "a")
    assert run("zbarimg", "-q", "--raw", tmp_path / "a.png").strip() == URL
