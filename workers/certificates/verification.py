"""Answers readers who verify a certificate: every printed field, its status, its duplicates."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col

from models.certificate import CertificateDuplicate, CertificateStatus, certificate_status, group_code
from models.document import CertificateSnapshot
from models.paris import day_in_paris
from models.throttle import ThrottleScope
from workers.database import Session
from workers.security.throttles import (
    ThrottleSubject,
    address_subjects,
    count,
    hold,
    read_allowances,
)
from workers.sql import fetch, fetch_one, select_record

# Finds a certificate by its code, with the one that replaced it and the one it replaces.
FIND_CERTIFICATE = text("""
    SELECT k.id, k.number, k.code, k.snapshot, k.issued_at, k.revoked_at, k.revocation_reason,
      later.number AS replaced_by, later.code AS replaced_by_code, later.issued_at AS replaced_at,
      earlier.number AS replaces
    FROM certificate k LEFT JOIN certificate later ON later.id = k.replaced_by
    LEFT JOIN certificate earlier ON earlier.enrollment_id = k.enrollment_id AND earlier.version = k.version - 1
    WHERE k.code = :code""")

# Finds the duplicate whose bytes have this hash.
MATCH_RENDERING = text("""
    SELECT d.number, r.document, r.locale, d.issued_at
    FROM rendering r JOIN certificate_duplicate d ON d.id = r.duplicate_id
    WHERE r.certificate_id = :id AND r.sha256 = :sha256 ORDER BY r.id LIMIT 1""")


class _CertificateRow(NamedTuple):
    id: UUID
    number: str
    code: str
    snapshot: Any
    issued_at: datetime
    revoked_at: datetime | None
    revocation_reason: str | None
    replaced_by: str | None
    replaced_by_code: str | None
    replaced_at: datetime | None
    replaces: str | None


class _DuplicateRow(NamedTuple):
    number: str
    document: str
    locale: str
    issued_at: datetime


class RegisteredDuplicate(NamedTuple):
    """A duplicate in the register: every document that is delivered is one."""

    number: str
    document: str
    locale: str
    issued_on: date


class VerifiedCertificate(NamedTuple):
    """A certificate with all that a reader who holds it may know.

    Parameters:
      snapshot: its contents; None when they are kept no longer.
      code: grouped.
      replaced_by: number and grouped code of the one that corrects it.
    """

    certificate_id: UUID
    number: str
    code: str
    issued_on: date
    snapshot: CertificateSnapshot | None
    status: CertificateStatus
    reason: str | None
    replaced_by: tuple[str, str] | None
    replaces: str | None
    duplicates: Sequence[RegisteredDuplicate]


def verify(session: Session, code: str) -> VerifiedCertificate | None:
    """Finds the certificate with this ungrouped code; None when there is none."""
    found = fetch_one(session, _CertificateRow, FIND_CERTIFICATE, {"code": code})
    if found is None:
        return None
    later, later_code = found.replaced_by, found.replaced_by_code
    return VerifiedCertificate(
        certificate_id=found.id,
        number=found.number,
        code=group_code(found.code),
        issued_on=day_in_paris(found.issued_at),
        snapshot=CertificateSnapshot.model_validate(found.snapshot) if found.snapshot else None,
        status=certificate_status(replaced_at=found.replaced_at, revoked_at=found.revoked_at),
        reason=found.revocation_reason,
        replaced_by=(later, group_code(later_code)) if later and later_code else None,
        replaces=found.replaces,
        duplicates=_read_duplicates(session, found.id),
    )


def _read_duplicates(session: Session, certificate_id: UUID) -> list[RegisteredDuplicate]:
    listed = select_record(_DuplicateRow, CertificateDuplicate).where(
        col(CertificateDuplicate.certificate_id) == certificate_id
    )
    rows = fetch(session, _DuplicateRow, listed.order_by(col(CertificateDuplicate.ordinal)))
    return [_registered(row) for row in rows]


def find_document(session: Session, certificate_id: UUID, sha256: str) -> RegisteredDuplicate | None:
    """Finds the document of this certificate that has exactly these bytes; None when none was ever made."""
    found = fetch_one(session, _DuplicateRow, MATCH_RENDERING, {"id": certificate_id, "sha256": sha256})
    return None if found is None else _registered(found)


def _registered(row: _DuplicateRow) -> RegisteredDuplicate:
    return RegisteredDuplicate(row.number, row.document, row.locale, day_in_paris(row.issued_at))


def closed_until(session: Session, address: str) -> datetime | None:
    """Counts one verification from a network address; returns until when that address must wait, or None.

    Parameters:
      address: the network address; only a keyed hash of it is kept, for a day.
    """
    subject = ThrottleSubject(ThrottleScope.VERIFICATION_ADDRESS, address_subjects([address])[address])
    hold(session, [subject])
    allowance = read_allowances(session, [subject])[subject]
    if until := allowance.closed_until():
        return until
    count(session, {subject: allowance.after_one()})
    return None


def as_json(found: VerifiedCertificate) -> dict[str, Any]:
    """Returns a certificate for programs. Keys are stable; days are ISO 8601, durations are minutes."""
    snapshot = found.snapshot.model_dump(mode="json", exclude={"form", "colour", "logo"}) if found.snapshot else None
    if snapshot is not None:
        snapshot["issuer"] = {key: value for key, value in snapshot["issuer"].items() if key not in ("colour", "logo")}
    return {
        "number": found.number,
        "code": found.code,
        "issued_on": found.issued_on.isoformat(),
        "status": found.status.word,
        "status_since": found.status.since.isoformat() if found.status.since else None,
        "reason": found.reason,
        "replaced_by": found.replaced_by[0] if found.replaced_by else None,
        "replaced_by_code": found.replaced_by[1] if found.replaced_by else None,
        "replaces": found.replaces,
        "certificate": snapshot,
        "duplicates": [document_as_json(one) for one in found.duplicates],
    }


def document_as_json(one: RegisteredDuplicate) -> dict[str, Any]:
    """Returns a document of the register for programs."""
    return one._asdict() | {"issued_on": one.issued_on.isoformat()}
