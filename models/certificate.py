"""A completed training gives a certificate with a number and a verification code, of which duplicates are made."""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import JSON, Index, Integer, UniqueConstraint, text
from sqlmodel import Field

from models.base import Record, instant, new_id
from models.document import (
    CertificateIssuer,
    CertificateSnapshot,
    TrainingModality,
    TrainingNature,
)
from models.paris import day_in_paris
from models.words import Code, Progress

FILE_DAYS: Final = 7
"""A link to a file of duplicates works for this many days."""


class Certificate(Record, table=True):
    """One version of a certificate. ``snapshot`` holds everything that is printed and never changes.

    The number comes from a gapless yearly sequence per organisation. A wrong name is corrected by a new version, which
    the old one names; an enrollment has exactly one version that is not replaced.
    """

    __tablename__ = "certificate"
    __table_args__ = (
        UniqueConstraint("organisation_id", "number"),
        UniqueConstraint("enrollment_id", "version"),
        Index("uq_certificate_current", "enrollment_id", unique=True, postgresql_where=text("replaced_by IS NULL")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    enrollment_id: UUID = Field(foreign_key="enrollment.id")
    version: int = 1
    organisation_id: UUID = Field(foreign_key="organisation.id")
    number: str = Field(index=True)
    code: str = Field(unique=True)  # verification code, ungrouped
    snapshot: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # None after its retention
    issued_at: datetime = instant(default_now=True)
    replaced_by: UUID | None = None
    revoked_at: datetime | None = instant(nullable=True)
    revocation_reason: str | None = None
    kept_until: datetime = instant()  # the end of its retention


class CertificateCounter(Record, table=True):
    """The last number an organisation gave in a year. The transaction that issues certificates moves it: no gap."""

    __tablename__ = "certificate_counter"

    organisation_id: UUID = Field(foreign_key="organisation.id", primary_key=True)
    year: int = Field(primary_key=True, sa_type=Integer)
    last: int


class CertificateDuplicate(Record, table=True):
    """The register has one row per duplicate: its number, its certificate, who asked for it and when."""

    __tablename__ = "certificate_duplicate"
    __table_args__ = (UniqueConstraint("certificate_id", "ordinal"), UniqueConstraint("job_id", "position"))

    id: UUID = Field(default_factory=new_id, primary_key=True)
    certificate_id: UUID = Field(foreign_key="certificate.id")
    ordinal: int  # 1 for the first duplicate of a certificate
    number: str
    document: str
    locale: str
    job_id: UUID
    position: int
    portal_id: UUID
    requested_by: str = ""
    issued_at: datetime = instant(default_now=True)


class Rendering(Record, table=True):
    """The hash of a document that was rendered for a duplicate; an uploaded file is compared with it."""

    __tablename__ = "rendering"
    __table_args__ = (
        UniqueConstraint(
            *("certificate_id", "duplicate_id", "document", "locale", "sha256"),
            name="uq_rendering_certificate_id_bytes",
        ),
        Index("ix_rendering_duplicate", "duplicate_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    certificate_id: UUID = Field(foreign_key="certificate.id")
    duplicate_id: UUID = Field(foreign_key="certificate_duplicate.id")
    document: str
    locale: str
    sha256: str = Field(index=True)
    size: int
    sealed: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    rendered_at: datetime = instant(default_now=True)


class CertificateFile(Record, table=True):
    """The file that one job of duplicates made, a document or a zip of several; the link to it expires."""

    __tablename__ = "certificate_file"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    job_id: UUID = Field(unique=True)
    portal_id: UUID
    name: str
    kind: str  # pdf, zip
    sha256: str
    size: int
    key_id: str
    created_at: datetime = instant(default_now=True)
    expires_at: datetime = instant()
    dropped_at: datetime | None = instant(nullable=True)  # the bytes of the zip were deleted; they can be made again


class IssuingFacts(NamedTuple):
    """The facts of a completed enrollment when its certificate is issued."""

    first_name: str
    last_name: str
    employer: str
    colour: str | None
    logo: str | None
    title: str
    nature: str
    objectives: Sequence[str]
    modality: str | None
    planned_minutes: int | None
    started_at: datetime
    completed_at: datetime
    time_spent_seconds: int
    score: float | None


def freeze_certificate(issuer: CertificateIssuer, facts: IssuingFacts, verify_url: str) -> CertificateSnapshot:
    """Returns everything that a certificate will say for ever; days are counted in Europe/Paris."""
    return CertificateSnapshot(
        issuer=issuer,
        first_name=facts.first_name,
        last_name=facts.last_name,
        employer=facts.employer,
        colour=facts.colour,
        logo=facts.logo,
        title=facts.title,
        nature=TrainingNature(facts.nature),
        objectives=tuple(facts.objectives),
        modality=TrainingModality(facts.modality) if facts.modality else None,
        starts_on=min(day_in_paris(facts.started_at), day_in_paris(facts.completed_at)),
        ends_on=day_in_paris(facts.completed_at),
        planned_minutes=facts.planned_minutes,
        done_minutes=done_minutes(facts.time_spent_seconds),
        score=facts.score,
        verify_url=verify_url,
    )


def done_minutes(seconds: int) -> int | None:
    """Returns whole minutes, rounded to the nearest and at least one; None when no time was measured."""
    return max(1, round(seconds / 60)) if seconds > 0 else None


def certificate_number(year: int, ordinal: int) -> str:
    """Returns ``2026-000042``: the year of issue, and the place in the sequence of that year."""
    return f"{year}-{ordinal:06}"


def duplicate_number(number: str, ordinal: int) -> str:
    """Returns ``2026-000042-D1``: the number of the certificate, and that of the duplicate among its duplicates."""
    return f"{number}-D{ordinal}"


def not_issued_because(progress: Progress, *, organisation: bool, names: bool) -> Code | None:
    """Returns the code that says why no certificate can be issued, or None if one can.

    Parameters:
      organisation: the portal has an organisation that signs its certificates.
      names: the names of the person are still kept.
    """
    if progress is not Progress.COMPLETED:
        return Code.NOT_COMPLETED
    if not organisation:
        return Code.UNKNOWN_ORGANISATION
    return None if names else Code.NAMES_NOT_KEPT


def no_duplicate_because(progress: Progress, *, detached: bool, revoked: bool, kept: bool) -> Code | None:
    """Returns the code that says why no duplicate of a certificate is made, or None if one can be.

    Parameters:
      detached: the person said "this is not me".
      revoked: the certificate was revoked.
      kept: the snapshot of the certificate is still kept.
    """
    if detached:
        return Code.DETACHED
    if progress is not Progress.COMPLETED:
        return Code.NOT_COMPLETED
    if revoked:
        return Code.CERTIFICATE_REVOKED
    return None if kept else Code.NAMES_NOT_KEPT


class CertificateStatus(NamedTuple):
    """The status of a certificate, which every person who holds the document may see."""

    word: str  # valid, replaced, revoked
    since: datetime | None


def certificate_status(*, replaced_at: datetime | None, revoked_at: datetime | None) -> CertificateStatus:
    """Returns the status of a certificate; one that was both replaced and revoked is revoked."""
    if revoked_at is not None:
        return CertificateStatus("revoked", revoked_at)
    return CertificateStatus("replaced", replaced_at) if replaced_at is not None else CertificateStatus("valid", None)


CODE_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RANDOM_CODE_LENGTH: Final = 15
CODE_GROUP: Final = 4

_CHECKS: Final = 37
_TYPED: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None, "\N{NO-BREAK SPACE}": None})
_WHOLE: Final = re.compile(f"[{CODE_ALPHABET}]{{{RANDOM_CODE_LENGTH + 1}}}")


def new_verification_code() -> str:
    """Returns an unguessable code of 16 characters, ungrouped."""
    while True:
        random = "".join(secrets.choice(CODE_ALPHABET) for _ in range(RANDOM_CODE_LENGTH))
        check = _value(random) % _CHECKS
        if check < len(CODE_ALPHABET):
            return random + CODE_ALPHABET[check]


def group_code(code: str) -> str:
    """Returns the code in groups of four, as it is printed: ``7KQ2-M9XD-4TBN-8ZC6``."""
    return "-".join(code[start : start + CODE_GROUP] for start in range(0, len(code), CODE_GROUP))


def read_verification_code(typed: str) -> str | None:
    """Returns a typed code, ungrouped, or None if it is not valid. Case is ignored, O means 0, I and L mean 1."""
    if len(typed) > 100:
        return None
    code = typed.strip().upper().translate(_TYPED)
    if not _WHOLE.fullmatch(code):
        return None
    return code if _value(code[:-1]) % _CHECKS == CODE_ALPHABET.index(code[-1]) else None


def _value(text: str) -> int:
    number = 0
    for character in text:
        number = number * len(CODE_ALPHABET) + CODE_ALPHABET.index(character)
    return number
