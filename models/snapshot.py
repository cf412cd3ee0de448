"""What a certificate says, frozen when it is issued: everything printed is read from here and nowhere else.

A company that changes its name, a person who marries, a training whose title is mended: no certificate changes.
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class Document(StrEnum):
    """The two documents a completed training gives; neither takes the place of the other."""

    ATTESTATION = "attestation"  # attestation de fin de formation: what was learnt
    REALISATION = "realisation"  # certificat de réalisation: the ministry's model of 2020, which OPCOs ask for


class TrainingNature(StrEnum):
    """The natures of an action (Code du travail, L. 6313-1)."""

    TRAINING = "training"  # action de formation
    SKILLS_ASSESSMENT = "skills_assessment"  # bilan de compétences
    EXPERIENCE_VALIDATION = "experience_validation"  # validation des acquis de l'expérience
    APPRENTICESHIP = "apprenticeship"  # action de formation par apprentissage


class TrainingModality(StrEnum):
    """How a training is given (Code du travail, L. 6313-2 and D. 6313-3-1)."""

    REMOTE = "remote"  # formation à distance
    ON_SITE = "on_site"  # en présentiel
    BLENDED = "blended"  # en partie à distance


class _Frozen(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)


Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Colour = Annotated[str, Field(pattern="^#[0-9a-f]{6}$")]


class CertificateIssuer(_Frozen):
    """The training organisation as it signs (dispensateur)."""

    legal_name: str
    address: tuple[str, ...] = ()  # its lines
    siret: str | None = None  # 14 digits
    activity_number: str | None = None  # of its declaration (L. 6351-1): 11 characters
    activity_region: str | None = None  # of the prefect it was declared to: "Île-de-France"
    signatory_name: str
    signatory_quality: str  # "Directrice de la formation"
    place: str  # where it is signed: "Paris"
    colour: Colour | None = None
    logo: Digest | None = None  # SHA-256 of the picture


class CertificateSnapshot(_Frozen):
    """One certificate's contents. Texts are as they were typed: markup in them means nothing."""

    form: Literal[1] = 1  # the shape of this very record, so that old ones are read for ever
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
    verify_url: str  # where anybody can compare it: printed, and in the QR code


class PrintedDuplicate(_Frozen):
    """What a duplicate says beside the certificate."""

    number: str
    issued_on: date


class PrintedCertificate(_Frozen):
    """One certificate as it is printed: its snapshot, and what only the register gives.

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
