"""Names of files: readable, ASCII, safe on every system."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.file_name import MOST, document_file_name, plain_name
from models.snapshot import Document

SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?!-)){0,23}")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Zoé", "Zoe"),
        ("Zoe\u0301", "Zoe"),
        ("Le Dû", "Le-Du"),
        ("O’Brien-d'Arc", "O-Brien-d-Arc"),
        ("Œuvre Straße Łódź Ægir Øre đ ı", "OEuvre-Strasse-Lodz-AEgi"),
        ("ﬁ ① ²", "fi-1-2"),
        ("Ｆｕｌｌ", "Full"),
        ("../../etc/passwd", "etc-passwd"),
        ("..\\..\\a", "a"),
        ("C:\\CON", "C-CON"),
        ('a"b;c=d\r\nX: y', "a-b-c-d-X-y"),
        ("a\u202egpj.exe", "a-gpj-exe"),
        ("a\x00b", "a-b"),
        ("--", ""),
        ("", ""),
        ("محمد", ""),
        ("山田", ""),
        ("🎓", ""),
        ("half \ud83d", "half"),
        ("x" * 500, "x" * MOST),
        ("x" * (MOST - 1) + " y", "x" * (MOST - 1)),
        ("=1+1", "1-1"),
    ],
)
def test_a_name_in_the_name_of_a_file(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@given(st.text(st.characters(), max_size=120))
def test_any_name_is_safe(name: str) -> None:
    plain = plain_name(name)
    assert plain == "" or SAFE.fullmatch(plain)
    assert not plain.endswith("-")


@pytest.mark.parametrize(
    ("document", "locale", "people", "name"),
    [
        (Document.ATTESTATION, "fr", ("Zoé", "Le Dû"), "attestation-Le-Du-Zoe-2026-000042-D1.pdf"),
        (Document.ATTESTATION, "en", ("Zoé", "Le Dû"), "certificate-Le-Du-Zoe-2026-000042-D1.pdf"),
        (Document.REALISATION, "fr", ("Zoé", ""), "certificat-de-realisation-Zoe-2026-000042-D1.pdf"),
        (Document.REALISATION, "en", ("", ""), "certificate-of-completion-2026-000042-D1.pdf"),
        (Document.ATTESTATION, "fr", ("محمد", "CON"), "attestation-CON-2026-000042-D1.pdf"),
    ],
)
def test_the_name_of_a_document(document: Document, locale: str, people: tuple[str, str], name: str) -> None:
    assert document_file_name(document, locale, *people, "2026-000042-D1") == name


def test_the_longest_name_of_a_file_fits_every_system() -> None:
    name = document_file_name(Document.REALISATION, "fr", "W" * 100, "W" * 100, "2026-1000000-D1000")
    assert len(name) <= 120
