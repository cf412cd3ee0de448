"""The tests of documents use these: printed facts, the PDF made from them, and the text a reader can copy from it."""

import io
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pikepdf

from models.document import (
    CertificateIssuer,
    CertificateSnapshot,
    Document,
    PrintedCertificate,
    PrintedDuplicate,
    TrainingModality,
    TrainingNature,
)
from tests.kit.system import run
from workers.documents.renderer import render

AT = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
URL = "https://formation.example/certificates/7KQ2-M9XD-4TBN-8ZC6"
ISSUER = CertificateIssuer(
    legal_name="Formation Pro SAS",
    address=("12 rue des Écoles", "75005 Paris"),
    siret="73282932000074",
    activity_number="11755555575",
    activity_region="Île-de-France",
    signatory_name="Claire Martin",
    signatory_quality="Directrice de la formation",
    place="Paris",
)
OUTLOUD = Path(sys.executable).with_name("outloud")
EVERY = [(document, locale) for document in Document for locale in ("fr", "en")]


def printed(
    *, duplicate: bool = True, number: str = "2026-000042", replaces: str | None = None, **more: Any
) -> PrintedCertificate:
    """Returns the facts of a printed certificate: by default Zoé Le Dû followed a remote training."""
    facts: dict[str, Any] = {
        "issuer": ISSUER,
        "first_name": "Zoé",
        "last_name": "Le Dû",
        "employer": "Menuiserie Lefèvre & Fils",
        "title": "Sécurité incendie",
        "objectives": ("Reconnaître un risque", "Donner l’alerte"),
        "nature": TrainingNature.TRAINING,
        "modality": TrainingModality.REMOTE,
        "starts_on": date(2026, 3, 2),
        "ends_on": date(2026, 3, 9),
        "planned_minutes": 420,
        "done_minutes": 400,
        "score": 87.5,
        "verify_url": URL,
    }
    return PrintedCertificate(
        snapshot=CertificateSnapshot(**(facts | more)),
        number=number,
        code="7KQ2-M9XD-4TBN-8ZC6",
        issued_on=date(2026, 3, 10),
        replaces=replaces,
        duplicate=PrintedDuplicate(number=f"{number}-D1", issued_on=date(2026, 11, 25)) if duplicate else None,
    )


def pdf_of(document: Document = Document.ATTESTATION, locale: str = "fr", **more: Any) -> bytes:
    """Renders that certificate as PDF."""
    return render(printed(**more), document, locale, logos={}, timestamp=AT)


def text_of(pdf: bytes) -> str:
    """Returns the text of a PDF in the order it was written, with plain spaces."""
    text = run("pdftotext", "-raw", "-", "-", given=pdf)
    return " ".join(text.split())


def pages(pdf: bytes) -> int:
    """Returns the number of pages of a PDF."""
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        return len(opened.pages)
