"""Certificates to look at and to test with: short, long, in other scripts, hostile."""

import io
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any, Final

from PIL import Image, ImageDraw

from models.document import (
    CertificateIssuer,
    CertificateSnapshot,
    PrintedCertificate,
    PrintedDuplicate,
    TrainingModality,
)
from workers.documents.logo import clean_logo

MOMENT: Final = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)


def logo(colour: str, shape: str) -> bytes:
    """A simple picture that stands for a company's logo."""
    picture = Image.new("RGBA", (480, 160), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    if shape == "round":
        draw.ellipse((10, 10, 150, 150), fill=colour)
        draw.ellipse((50, 50, 110, 110), fill="white")
    else:
        draw.polygon(((10, 150), (80, 10), (150, 150)), fill=colour)
    draw.rounded_rectangle((175, 45, 470, 75), 8, fill=colour)
    draw.rounded_rectangle((175, 95, 380, 115), 6, fill="#9aa5b1")
    file = io.BytesIO()
    picture.save(file, "PNG")
    kept = clean_logo(file.getvalue())
    if not isinstance(kept, bytes):
        raise TypeError(f"the sample is no logo that may be printed: {kept}")
    return kept


LOGOS: Final[dict[str, bytes]] = {
    sha256(data).hexdigest(): data for data in (logo("#0b5d4b", "round"), logo("#8a1c3a", "peak"))
}
_ISSUER_LOGO, _EMPLOYER_LOGO = LOGOS

ISSUER: Final = CertificateIssuer(
    legal_name="Institut Prévention SAS",
    address=("12 rue des Ateliers", "75011 Paris"),
    siret="73282932000074",
    activity_number="11755555575",
    activity_region="Île-de-France",
    signatory_name="Claire Dubreuil",
    signatory_quality="Directrice de la formation",
    place="Paris",
)
SHORT: Final = CertificateSnapshot(
    issuer=ISSUER,
    first_name="Anne-Sophie",
    last_name="Lefèvre",
    employer="Menuiserie Lefèvre & Fils",
    title="Prévention des risques électriques",
    objectives=(
        "Reconnaître les situations dangereuses d’un chantier électrique",
        "Choisir et vérifier ses équipements de protection",
        "Appliquer la consignation avant toute intervention",
        "Porter secours à une personne électrisée",
    ),
    modality=TrainingModality.REMOTE,
    starts_on=date(2026, 2, 2),
    ends_on=date(2026, 3, 1),
    planned_minutes=14 * 60,
    done_minutes=14 * 60 + 35,
    score=87.5,
    verify_url="https://formation.example/certificates/7KQ2-M9XD-4TBN-8ZC6",
)


def of(snapshot: CertificateSnapshot, **more: Any) -> PrintedCertificate:
    """The certificate of a snapshot, with a number and a code."""
    given: dict[str, Any] = {"number": "2026-000142", "code": "7KQ2-M9XD-4TBN-8ZC6", "issued_on": date(2026, 3, 5)}
    return PrintedCertificate(snapshot=snapshot, **(given | more))


def changed(**changes: Any) -> CertificateSnapshot:
    """The short sample with other values."""
    return SHORT.model_copy(update=changes)


_LONG = {
    "title": (
        "Conduite, maintenance préventive et vérification réglementaire des installations frigorifiques "
        "industrielles à l’ammoniac et au dioxyde de carbone en environnement agroalimentaire, niveau confirmé"
    )[:200],
    "objectives": tuple(
        (f"Objectif {number} : être capable d’identifier, d’évaluer puis de maîtriser les risques liés aux équipements "
         "sous pression, de renseigner le registre de sécurité et de rendre compte par écrit à son responsable.")[:200]
        for number in range(1, 11)
    ),
    "employer": "Société coopérative agricole des producteurs de la vallée de la Haute-Vézère et du Limousin réunis",
}  # fmt: skip
_DUPLICATE = PrintedDuplicate(number="2026-000142-D7", issued_on=date(2027, 1, 12))

SAMPLES: Final[dict[str, PrintedCertificate]] = {
    "short": of(SHORT),
    "logos": of(changed(logo=_EMPLOYER_LOGO, colour="#8a1c3a",
                        issuer=ISSUER.model_copy(update={"logo": _ISSUER_LOGO, "colour": "#0b5d4b"}))),
    "duplicate": of(SHORT, duplicate=_DUPLICATE, replaces="2025-000031"),
    "bare": of(changed(objectives=(), modality=None, planned_minutes=None, done_minutes=None, score=None)),
    "long": of(changed(first_name=("Marie Charlotte Élisabeth " * 4)[:100].strip(),
                       last_name=("de La Rochefoucauld-Montmorency " * 4)[:100].strip(), **_LONG),
               duplicate=_DUPLICATE, replaces="2025-000031"),
    "fullest": of(
        changed(first_name=("mot " * 25).strip(), last_name=("mot " * 25).strip(), title=("titre " * 33).strip(),
                employer=("société " * 25).strip(), issuer=ISSUER.model_copy(update=dict.fromkeys(
                    ("legal_name", "signatory_name", "signatory_quality", "place"), ("texte " * 33).strip()))),
        duplicate=_DUPLICATE, replaces="2025-000031"),
    "signatory": of(changed(issuer=ISSUER.model_copy(update={
        "signatory_name": "Marie-Clémentine de La Rochefoucauld-Doudeauville",
        "signatory_quality": "Directrice générale déléguée à la formation professionnelle continue"}))),
    "unbroken": of(changed(first_name="W" * 100, last_name="M" * 100, **_LONG)),
    "arabic": of(changed(first_name="محمد", last_name="بن عبد الله", employer="شركة النور",
                         title="الوقاية من المخاطر الكهربائية",
                         objectives=("التعرف على المخاطر", "اختيار معدات الحماية"))),
    "hebrew": of(changed(first_name="דוד", last_name="בן־גוריון", employer="חברת האור בע״מ")),
    "hostile": of(changed(first_name='#panic("x") *bold* $x^2$', last_name='<b>Bobby</b> \\ #read("/etc/passwd")',
                          employer="<script>alert(1)</script> _it_ `raw` @label",
                          title='= Title #import "@preview/x:1.0.0"')),
    "odd": of(changed(first_name="Zoé 🎓 山田",
                      last_name="Ng\u0302\u0323uye\u0302\u0303n Ż\u0335\u0301\u0302\u0303ółć Ωμέγα Щука")),
}  # fmt: skip
"""Name of the preview → certificate; tests render the same ones."""
