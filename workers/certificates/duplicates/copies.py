"""Reads duplicates from the register: the contents of each, and the bytes that were made of it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from models.base import new_id
from models.certificate import Rendering, group_code
from models.document import (
    CertificateSnapshot,
    Document,
    PrintedCertificate,
    PrintedDuplicate,
    document_file_name,
)
from models.paris import day_in_paris
from models.portal import Logo
from models.words import Code
from workers.database import Session
from workers.sql import fetch, fetch_one, select_record

_READ: Final = """
    SELECT d.id, d.certificate_id, d.position, d.number, d.document, d.locale, d.issued_at,
      k.number AS certificate_number, k.code, k.snapshot, k.issued_at AS certificate_issued_at,
      earlier.number AS replaces, made.sha256, made.size, p.code AS result
    FROM certificate_duplicate d JOIN certificate k ON k.id = d.certificate_id
    JOIN job_person p ON p.job_id = d.job_id AND p.position = d.position
    LEFT JOIN certificate earlier ON earlier.enrollment_id = k.enrollment_id AND earlier.version = k.version - 1
    LEFT JOIN LATERAL (
      SELECT r.sha256, r.size FROM rendering r WHERE r.duplicate_id = d.id
      ORDER BY r.rendered_at DESC, r.id DESC LIMIT 1
    ) made ON true
    WHERE {which} ORDER BY d.position"""

# Reads the duplicates of a job with their contents and the latest bytes of each: one may have been rendered again.
READ_COPIES = text(_READ.format(which="d.job_id = :job"))

# Reads one duplicate with the same.
READ_COPY = text(_READ.format(which="d.id = :duplicate"))


class _CopyRow(NamedTuple):
    id: UUID
    certificate_id: UUID
    position: int
    number: str
    document: str
    locale: str
    issued_at: datetime
    certificate_number: str
    code: str
    snapshot: Any
    certificate_issued_at: datetime
    replaces: str | None
    sha256: str | None
    size: int | None
    result: str


class _LogoRow(NamedTuple):
    sha256: str
    content: bytes


class DuplicateCopy(NamedTuple):
    """One duplicate to be rendered, and its bytes once they are recorded."""

    duplicate_id: UUID
    certificate_id: UUID
    position: int
    document: Document
    locale: str
    printed: PrintedCertificate
    issued_at: datetime
    sha256: str | None = None
    size: int | None = None

    @property
    def file_name(self) -> str:
        """A readable name that no other duplicate has."""
        snapshot, duplicate = self.printed.snapshot, self.printed.duplicate
        number = duplicate.number if duplicate else self.printed.number
        return document_file_name(self.document, self.locale, snapshot.first_name, snapshot.last_name, number)


class RenderedCopy(NamedTuple):
    """A duplicate that was rendered into the store; without bytes when this one document cannot be made."""

    copy: DuplicateCopy
    sha256: str | None
    size: int = 0
    sealed: bool = False

    @property
    def recorded(self) -> DuplicateCopy:
        """The duplicate with the hash and size of its bytes."""
        return self.copy._replace(sha256=self.sha256, size=self.size)


def read_registered(session: Session, job_id: UUID) -> list[DuplicateCopy]:
    """Reads the duplicates of a job in order, without those that cannot be made."""
    rows = fetch(session, _CopyRow, READ_COPIES, {"job": job_id})
    return [_copy(row) for row in rows if row.result == Code.DUPLICATED]


def read_copy(session: Session, duplicate_id: UUID) -> DuplicateCopy | None:
    """Reads one duplicate of the register; None when its contents are kept no longer."""
    row = fetch_one(session, _CopyRow, READ_COPY, {"duplicate": duplicate_id})
    return None if row is None or row.snapshot is None else _copy(row)


def read_copies(session: Session, job_id: UUID) -> list[DuplicateCopy]:
    """Reads the duplicates that a job made, in order, if their contents are still kept."""
    rows = fetch(session, _CopyRow, READ_COPIES, {"job": job_id})
    return [_copy(row) for row in rows if row.snapshot and row.sha256]


def _copy(row: _CopyRow) -> DuplicateCopy:
    printed = PrintedCertificate(
        snapshot=CertificateSnapshot.model_validate(row.snapshot),
        number=row.certificate_number,
        code=group_code(row.code),
        issued_on=day_in_paris(row.certificate_issued_at),
        replaces=row.replaces,
        duplicate=PrintedDuplicate(number=row.number, issued_on=day_in_paris(row.issued_at)),
    )
    return DuplicateCopy(
        row.id,
        row.certificate_id,
        row.position,
        Document(row.document),
        row.locale,
        printed,
        row.issued_at,
        row.sha256,
        row.size,
    )


def read_logos(session: Session, snapshots: Iterable[CertificateSnapshot]) -> dict[str, bytes]:
    """Reads the pictures on these certificates, by hash."""
    digests = {one for snapshot in snapshots for one in (snapshot.logo, snapshot.issuer.logo) if one}
    if not digests:
        return {}
    logos = select_record(_LogoRow, Logo).where(col(Logo.sha256).in_(sorted(digests)))
    return {row.sha256: row.content for row in fetch(session, _LogoRow, logos)}


def record_rendering(session: Session, made: RenderedCopy) -> None:
    """Records the hash of a document, with which uploaded files are compared; nothing when it was not made."""
    if made.sha256 is None:
        return
    copy = made.copy
    row = {
        "id": new_id(),
        "certificate_id": copy.certificate_id,
        "duplicate_id": copy.duplicate_id,
        "document": copy.document,
        "locale": copy.locale,
        "sha256": made.sha256,
        "size": made.size,
        "sealed": made.sealed,
    }
    session.execute(insert(Rendering).values(row).on_conflict_do_nothing())
