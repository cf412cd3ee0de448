"""Documents have the right words on one page, in PDF/A and PDF/UA, and equal bytes for equal data, also
from threads.
"""

import hashlib
import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pikepdf
import pytest
from PIL import Image

from models.certificate import group_code, new_verification_code
from models.document import CertificateIssuer, Document
from tests.kit.builders.documents import (
    AT,
    EVERY,
    ISSUER,
    OUTLOUD,
    URL,
    pages,
    pdf_of,
    printed,
    text_of,
)
from tests.kit.processes.support import PROJECT
from tests.kit.system import run
from workers.documents import renderer
from workers.documents.renderer import NotRendered, render


@pytest.mark.parametrize(("document", "locale"), EVERY)
def test_everything_is_on_one_page(document: Document, locale: str) -> None:
    pdf = pdf_of(document, locale, replaces="2026-000007")
    text = text_of(pdf)
    assert pages(pdf) == 1
    expected = {
        "fr": [
            "2 mars 2026",
            "9 mars 2026",
            "87,5 %",
            "10 mars 2026",
            "25 novembre 2026",
            "à distance",
            "Fait à Paris",
        ],
        "en": ["2 March 2026", "9 March 2026", "87.5%", "10 March 2026", "25 November 2026", "remote", "Done at Paris"],
    }[locale]
    for part in (
        *("Zoé Le Dû", "Menuiserie Lefèvre & Fils", "Sécurité incendie", "Claire Martin", "Directrice de la formation"),
        *("2026-000042", "2026-000042-D1", "DUPLICATA", "2026-000007", "7KQ2-M9XD-4TBN-8ZC6", URL, "7 h", "6 h 40"),
        *("732 829 320 00074", "11755555575", "Île-de-France", "ne vaut pas agrément de l’État", *expected),
    ):
        assert part in text, part


@pytest.mark.parametrize(("document", "locale"), EVERY)
def test_no_false_legal_basis_is_printed(document: Document, locale: str) -> None:
    """Since 2019 no article requires an attestation: L. 6353-1 is about the agreement with the buyer."""
    text = text_of(pdf_of(document, locale))
    assert "6353" not in text
    assert ("6313-1" in text) == (document is Document.REALISATION)


def test_the_two_documents_do_not_bear_each_others_title() -> None:
    attestation, realisation = text_of(pdf_of()), text_of(pdf_of(Document.REALISATION))
    assert "Attestation de fin de formation" in attestation
    assert "Certificat de réalisation" not in attestation
    assert "Certificat de réalisation" in realisation
    assert "Attestation de fin" not in realisation
    assert "Reconnaître un risque" in attestation
    assert "trois ans" in realisation


def test_unknown_facts_are_not_printed() -> None:
    bare = CertificateIssuer(legal_name="OF", signatory_name="A", signatory_quality="B", place="C")
    for document in Document:
        text = text_of(
            pdf_of(document, issuer=bare, objectives=(), modality=None, planned_minutes=None, done_minutes=None,
                 score=None, duplicate=False)
        )  # fmt: skip
        for absent in ("évaluation", "Modalité", "Durée", "Objectifs", "SIRET", "agrément", "DUPLICATA", "remplace"):
            assert absent not in text, absent


@pytest.mark.parametrize("document", Document)
@pytest.mark.parametrize("mode", ["-raw", "-layout"])
def test_the_large_word_behind_the_page_is_not_mixed_with_its_text(document: Document, mode: str) -> None:
    pdf = pdf_of(document, title="Conduite d’un chariot élévateur à mât rétractable en entrepôt frigorifique")
    told = run("pdftotext", mode, "-", "-", given=pdf)
    lines = [" ".join(line.split()) for line in told.splitlines()]
    assert told.count("DUPLICATA") == 1
    assert "Zoé Le Dû" in lines
    assert all(len(line) != 1 for line in lines)


@pytest.mark.parametrize("document", Document)
def test_the_same_data_give_the_same_bytes(document: Document) -> None:
    first = pdf_of(document)
    assert pdf_of(document) == first
    script = (
        "import hashlib; from tests.kit.builders.documents import pdf_of;"
        "from models.document import Document;"
        f"print(hashlib.sha256(pdf_of(Document('{document}'))).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == hashlib.sha256(first).hexdigest()


def test_threads_render_the_right_person() -> None:
    people = [f"Personne{number}" for number in range(40)]
    with ThreadPoolExecutor(4) as threads:
        pdfs = list(threads.map(lambda name: pdf_of(first_name=name), people))
    assert len({hashlib.sha256(pdf).hexdigest() for pdf in pdfs}) == 40
    for name, pdf in list(zip(people, pdfs, strict=True))[::5]:
        assert f"{name} Le Dû" in text_of(pdf)


def picture(colour: str = "#1b3a5f") -> tuple[str, bytes]:
    written = io.BytesIO()
    Image.new("RGB", (300, 100), colour).save(written, "PNG")
    return hashlib.sha256(written.getvalue()).hexdigest(), written.getvalue()


def test_logos_are_shown_and_a_damaged_one_is_left_out() -> None:
    digest, content = picture()
    issuer = ISSUER.model_copy(update={"logo": digest})
    asked = printed(issuer=issuer, logo=digest)
    shown = render(asked, Document.ATTESTATION, "fr", logos={digest: content}, timestamp=AT)
    with pikepdf.open(io.BytesIO(shown)) as opened:
        assert len(opened.pages[0].get_images()) == 1
    other = "0" * 64
    broken = printed(issuer=issuer.model_copy(update={"logo": other}), logo=None)
    without = render(broken, Document.ATTESTATION, "fr", logos={other: b"\x89PNG no picture"}, timestamp=AT)
    assert pages(without) == 1
    assert "Formation Pro SAS" in text_of(without)


def test_the_pictures_of_many_companies_are_all_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "MOST_LOGOS", 3)
    pictures = [picture(f"#{number}{number}5a5f") for number in (10, 20, 30, 40, 50)]
    first = []
    for digest, content in [*pictures, *pictures]:
        asked = printed(issuer=ISSUER.model_copy(update={"logo": digest}))
        first.append(render(asked, Document.ATTESTATION, "fr", logos={digest: content}, timestamp=AT))
    assert first[:5] == first[5:]
    assert len(set(first)) == 5
    for pdf in first:
        with pikepdf.open(io.BytesIO(pdf)) as opened:
            assert len(opened.pages[0].get_images()) == 1


def test_an_error_of_typst_is_reported_without_its_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(renderer, "contents", lambda *_: {"learner": "Zoé Le Dû"})
        with pytest.raises(NotRendered) as refused:
            pdf_of()
    assert "Zoé" not in str(refused.value)
    assert pages(pdf_of()) == 1  # the compiler still works


# Conformance


@pytest.mark.parametrize(("document", "locale"), EVERY)
@pytest.mark.parametrize("duplicate", [False, True])
def test_it_is_pdf_a_and_pdf_ua(document: Document, locale: str, duplicate: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.pdf"
    file.write_bytes(pdf_of(document, locale, duplicate=duplicate))
    run("qpdf", "--check", file)
    with pikepdf.open(file) as opened:
        with opened.open_metadata() as metadata:
            assert (metadata["pdfaid:part"], metadata["pdfaid:conformance"], metadata["pdfuaid:part"]) == (
                "2",
                "A",
                "1",
            )
            assert metadata["dc:creator"] == ["Formation Pro SAS"]
            assert "2026-000042" in metadata["dc:title"]
        assert str(opened.Root.Lang).startswith(locale)
        assert opened.Root.MarkInfo.Marked
    told = run("pdfinfo", "-isodates", file)
    assert "Zoé Le Dû" in told
    assert "2026-03-10T09:00:00Z" in told
    assert "Tagged:          yes" in told
    checked = subprocess.run([OUTLOUD, "--no-info", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("document", Document)
def test_the_square_leads_to_the_page_of_the_certificate(document: Document, tmp_path: Path) -> None:
    file = tmp_path / "a.pdf"
    file.write_bytes(pdf_of(document))
    run("pdftoppm", "-r", "150", "-png", "-singlefile", file, tmp_path / "a")
    assert run("zbarimg", "-q", "--raw", tmp_path / "a.png").strip() == URL


def test_squares_of_any_code_are_read(tmp_path: Path) -> None:
    for number in range(12):
        url = f"https://formation.example/certificates/{group_code(new_verification_code())}"
        file = tmp_path / f"{number}.pdf"
        file.write_bytes(pdf_of(verify_url=url))
        run("pdftoppm", "-r", "110", "-png", "-singlefile", file, file.with_suffix(""))
        assert run("zbarimg", "-q", "--raw", file.with_suffix(".png")).strip() == url


def test_threads_that_render_first_at_the_same_moment_share_one_room() -> None:
    before, start = renderer._render_folder(), threading.Barrier(8)
    renderer._only_folder.cache_clear()

    def first(_: int) -> renderer.RenderFolder:
        start.wait(timeout=10)
        return renderer._render_folder()

    with ThreadPoolExecutor(8) as threads:
        rooms = list(threads.map(first, range(8)))
    before.close()
    assert len(set(rooms)) == 1
