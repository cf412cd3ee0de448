"""Each sample has one page with its number, and the command writes it as PDF and as picture."""

from pathlib import Path

import pytest
from PIL import Image

from models.document import Document
from tests.kit.builders.documents import pages, text_of
from workers.cli.certificate_preview import write_certificates
from workers.cli.samples.certificates import LOGOS, MOMENT, SAMPLES
from workers.documents.renderer import render


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("document", Document)
@pytest.mark.parametrize("locale", ["fr", "en"])
def test_each_sample_is_one_page(name: str, document: Document, locale: str) -> None:
    pdf = render(SAMPLES[name], document, locale, logos=LOGOS, timestamp=MOMENT)
    assert pages(pdf) == 1
    text = text_of(pdf)
    assert SAMPLES[name].number in text
    assert SAMPLES[name].code in text
    assert ("DUPLICATA" in text) == (SAMPLES[name].duplicate is not None)


def test_pages_and_pictures_are_written(tmp_path: Path) -> None:
    given = list(write_certificates(tmp_path / "samples", ["short"]))
    assert [file.suffix for file in given] == [".pdf"] * 4
    written = sorted(file.name for file in (tmp_path / "samples").iterdir())
    stems = [f"{document}-short.{locale}" for document in sorted(Document) for locale in ("en", "fr")]
    assert written == [f"{stem}.{kind}" for stem in stems for kind in ("pdf", "png")]
    with Image.open(tmp_path / "samples" / "attestation-short.fr.png") as picture:
        assert picture.width > picture.height
        assert len(set(picture.convert("L").tobytes())) > 16  # the picture is not blank
