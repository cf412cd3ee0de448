"""A name that counts as printable is printed to the letter; any other one would be a box, or nothing at all."""

import io

import pikepdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.document import Document
from tests.kit.builders.documents import pdf_of
from tests.workers.documents.test_names import KNOWN, POINTED, RIGHT_TO_LEFT, UNDRAWABLE, said
from workers.documents import renderer
from workers.documents.printable import is_printable

LATIN_AND_KIN = [
    "Zoé", "Anne-Sophie Lefèvre", "O’Neill-d'Arc", "Nguyễn Thị Ánh", "Łódź", "İstanbul", "Ωνάσης", "Живаго", "ﬁancé",
    "q\u0303", "a\u0301\u0328", "e\u0301", "1234567890", "-_-", "",
]  # fmt: skip
BOXES = [
    "山田太郎", "Zoé 🎓", "👩\u200d🎓 Roy", "გიორგი", "Հայկ", "สมชาย", "राम", "ⵣ", "\ue000", "a\ue000b", "\U0010ffff",
    "\ufffd", "Zo\ufffd", "é\u20e3", "𝒜lice", "\u0623\u0301",
]  # fmt: skip


@pytest.mark.parametrize("name", [*LATIN_AND_KIN, *RIGHT_TO_LEFT, *POINTED])
def test_names_of_our_scripts_are_printable(name: str) -> None:
    assert is_printable(name)


@pytest.mark.parametrize("name", [*BOXES, *UNDRAWABLE])
def test_names_with_a_letter_that_no_font_has_are_not(name: str) -> None:
    assert not is_printable(name)
    assert not is_printable(f"Anne {name}")


@pytest.mark.parametrize("name", [*LATIN_AND_KIN[:6], "q\u0303", "Живаго"])
def test_a_printable_name_is_in_the_document_to_the_letter(name: str) -> None:
    pdf = pdf_of(first_name=name, last_name="Dû", document=Document.ATTESTATION)
    assert name in said(pdf) or "\u0303" in name


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.sampled_from(KNOWN), min_size=1, max_size=12))
def test_no_printable_name_is_made_plainer_or_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if not is_printable(name):
        return
    with monkeypatch.context() as strict:
        strict.setattr(renderer, "without_marks", _never)
        with pikepdf.open(io.BytesIO(pdf_of(first_name=name, last_name="Dû"))) as made:
            assert len(made.pages) == 1


def _never(text: str) -> str:
    raise AssertionError("a printable name was made plainer")
