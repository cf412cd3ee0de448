"""A completed training gives documents; this module holds their contents and checks what is printed on them.

A certificate is frozen when it is issued: everything printed is read from its snapshot and nowhere else. No certificate
changes when a company or a person takes another name, or when the title of a training is corrected.
"""

import re
import unicodedata
from datetime import date
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.words import Code, StoredWord


class Document(StoredWord):
    """A completed training gives two documents; neither replaces the other."""

    ATTESTATION = "attestation"  # attestation de fin de formation: what was learnt
    REALISATION = "realisation"  # certificat de réalisation: the ministry's model of 2020, which OPCOs ask for


class TrainingNature(StoredWord):
    """The law knows four natures of training (Code du travail, L. 6313-1)."""

    TRAINING = "training"  # action de formation
    SKILLS_ASSESSMENT = "skills_assessment"  # bilan de compétences
    EXPERIENCE_VALIDATION = "experience_validation"  # validation des acquis de l'expérience
    APPRENTICESHIP = "apprenticeship"  # action de formation par apprentissage


class TrainingModality(StoredWord):
    """A training takes place in one of three ways (Code du travail, L. 6313-2 and D. 6313-3-1)."""

    REMOTE = "remote"  # formation à distance
    ON_SITE = "on_site"  # en présentiel
    BLENDED = "blended"  # en partie à distance


class _Frozen(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)


Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class CertificateIssuer(_Frozen):
    """The training organisation that signs a certificate (dispensateur)."""

    legal_name: str
    address: tuple[str, ...] = ()  # its lines
    siret: str | None = None  # 14 digits
    activity_number: str | None = None  # of its declaration (L. 6351-1): 11 characters
    activity_region: str | None = None  # of the prefect who registered it: "Île-de-France"
    signatory_name: str
    signatory_quality: str  # "Directrice de la formation"
    place: str  # where it is signed: "Paris"
    colour: Colour | None = None
    logo: Digest | None = None  # SHA-256 of the picture


class CertificateSnapshot(_Frozen):
    """The contents of one certificate. Texts stay as they were typed; markup in them has no effect."""

    form: Literal[1] = 1  # the version of this record, so that old ones stay readable
    issuer: CertificateIssuer
    first_name: str
    last_name: str
    employer: str
    colour: Colour | None = None  # of the employer, who bought the training
    logo: Digest | None = None
    title: str
    nature: TrainingNature = TrainingNature.TRAINING
    objectives: tuple[str, ...] = ()
    modality: TrainingModality | None = None
    starts_on: date
    ends_on: date
    planned_minutes: int | None = None
    done_minutes: int | None = None  # None: not measured
    score: float | None = None  # percent; None: nothing was evaluated
    verify_url: str  # the page where a reader verifies it: printed, and in the QR code


class PrintedDuplicate(_Frozen):
    """The facts that a duplicate prints in addition to those of the certificate."""

    number: str
    issued_on: date


class PrintedCertificate(_Frozen):
    """A certificate as it is printed: its snapshot, and the facts of the register.

    Parameters:
      code: the verification code, grouped.
      duplicate: None for the original.
    """

    snapshot: CertificateSnapshot
    number: str
    code: str
    issued_on: date
    replaces: str | None = None  # the number of the certificate this one corrects
    duplicate: PrintedDuplicate | None = None


LEAST_CONTRAST: Final = 4.5
"""A text needs this contrast ratio with its background (WCAG 2.2, success criterion 1.4.3)."""

MOST_LOGO_BYTES: Final = 130_000
"""A portal sends a picture of at most this size: in base64, the message stays under the limit of the queue."""

MOST_LOGO_PIXELS: Final = 4_000
"""A picture has at most this many pixels in each direction."""

PRINTED_LOGO_PIXELS: Final = 600
"""A picture is reduced to this many pixels in each direction: 50 mm at 300 dots per inch."""

_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")


def clean_colour(typed: str) -> str | Code:
    """Checks that text of this colour can be read on white.

    Returns: the colour as ``#rrggbb`` in lower case; or ``INVALID_COLOUR`` if it is not a colour, ``LOW_CONTRAST`` if
    it is too light.
    """
    colour = typed.strip().lower()
    if not _COLOUR.fullmatch(colour):
        return Code.INVALID_COLOUR
    return colour if contrast_with_white(colour) >= LEAST_CONTRAST else Code.LOW_CONTRAST


def contrast_with_white(colour: str) -> float:
    """Returns the contrast ratio with white, 1 to 21 (WCAG 2.2, contrast ratio and relative luminance)."""
    red, green, blue = (_linear(int(colour[start : start + 2], 16) / 255) for start in (1, 3, 5))
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def _linear(channel: float) -> float:
    return float(channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4)


_LA_POSTE: Final = "356000000"
_SIRET: Final = re.compile(r"[0-9]{14}")
_ACTIVITY_NUMBER: Final = re.compile(r"[0-9]{2}(?:[0-9]{2}|2[AB])[0-9]{7}")


def clean_siret(text: str) -> str | Code:
    """Checks the number of an establishment (SIRET): 14 digits; spaces are removed.

    Returns: the digits; or ``INVALID_SIRET`` when they are not 14 or their checksum is wrong (Luhn; an establishment of
    La Poste may have a plain sum instead, an exception of INSEE).
    """
    digits = "".join(text.split())
    if not _SIRET.fullmatch(digits) or not digits.strip("0"):  # fourteen zeros would pass the checksum
        return Code.INVALID_SIRET
    if digits.startswith(_LA_POSTE) and sum(map(int, digits)) % 5 == 0:
        return digits
    doubled = (int(one) * (2 - place % 2) for place, one in enumerate(digits))
    return digits if sum(number - 9 * (number > 9) for number in doubled) % 10 == 0 else Code.INVALID_SIRET


def clean_activity_number(text: str) -> str | Code:
    """Checks the number of a declaration of activity (Code du travail, L. 6351-1): 11 characters; spaces are removed.

    Returns: the number, or ``INVALID_ACTIVITY_NUMBER``. Only the departments of Corsica (2A, 2B) have a letter.
    """
    number = "".join(text.split()).upper()
    return number if _ACTIVITY_NUMBER.fullmatch(number) else Code.INVALID_ACTIVITY_NUMBER


MOST_NAME: Final = 24
"""A name takes at most this many characters of a file name."""

FILE_TITLES: Final = {
    "fr": {Document.ATTESTATION: "attestation", Document.REALISATION: "certificat-de-realisation"},
    "en": {Document.ATTESTATION: "certificate", Document.REALISATION: "certificate-of-completion"},
}

_SPELT_OUT: Final = str.maketrans({"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE", "ß": "ss", "ø": "o", "Ø": "O", "ł": "l",
                                   "Ł": "L", "đ": "d", "Đ": "D", "ı": "i"})  # fmt: skip
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9]+")


def plain_name(text: str) -> str:
    """Returns a text in ASCII letters, digits and single hyphens; empty when no character can be written so."""
    spelt = unicodedata.normalize("NFKD", text.translate(_SPELT_OUT))
    ascii_only = "".join(one for one in spelt if not unicodedata.combining(one))
    return _NOT_PLAIN.sub("-", ascii_only)[:MOST_NAME].strip("-")


def document_file_name(document: Document, locale: str, first_name: str, last_name: str, number: str) -> str:
    """Returns ``attestation-Le-Du-Zoe-2026-000042-D1.pdf``: the number makes the name unique."""
    parts = (FILE_TITLES[locale][document], plain_name(last_name), plain_name(first_name), number)
    return "-".join(filter(None, parts)) + ".pdf"
