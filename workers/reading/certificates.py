"""Shows the progress of a participant with their certificates, a certificate with its duplicates, and finds files."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.certificate import certificate_status, group_code
from models.document import CertificateSnapshot
from models.words import Code
from workers.certificates.duplicates.files import DuplicateFile, find_by_job
from workers.certificates.enrollments import verify_url
from workers.database import Session, text_array
from workers.enrollment.searching import SHOWN_NAMES
from workers.portals.keys import KnownKey
from workers.reading.visible_jobs import find_visible_job
from workers.sql import as_json, fetch, fetch_one

MOST_DUPLICATES: Final = 200
"""The most duplicates in the answer about one certificate, the latest of them."""

_ALLOWED: Final = "(CAST(:companies AS text[]) IS NULL OR co.reference = ANY(CAST(:companies AS text[])))"

# One participant of a portal with their progress, also one who left.
READ_PROGRESS = text(f"""
    SELECT e.id AS enrollment_id, c.reference AS contract, co.reference AS company, t.reference AS training,
      t.title AS training_title, e.account_id, a.email_norm AS email, {SHOWN_NAMES}, e.external_id, e.progress,
      e.started_at, e.completed_at, e.progress_at, e.score, e.time_spent_seconds, e.enrolled_at, e.withdrawn_at,
      e.detached_at, e.certificate_held
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN company co ON co.id = c.company_id
    JOIN training t ON t.id = c.training_id JOIN account a ON a.id = e.account_id
    WHERE e.id = :enrollment AND c.portal_id = :portal AND a.erased_at IS NULL AND {_ALLOWED}""")

_CERTIFICATES: Final = """
    SELECT k.id, k.enrollment_id, c.reference AS contract, k.number, k.code, k.version, k.issued_at, k.revoked_at,
      k.revocation_reason, k.kept_until, later.id AS replaced_by, later.issued_at AS replaced_at,
      CASE WHEN a.erased_at IS NULL THEN k.snapshot END AS snapshot
    FROM certificate k JOIN enrollment e ON e.id = k.enrollment_id JOIN account a ON a.id = e.account_id
    JOIN contract c ON c.id = e.contract_id JOIN company co ON co.id = c.company_id
    LEFT JOIN certificate later ON later.id = k.replaced_by"""

# Every version of the certificate of an enrollment, the first one first.
READ_CERTIFICATES = text(f"{_CERTIFICATES} WHERE k.enrollment_id = :enrollment ORDER BY k.version")

# One certificate of a portal; what it says is left out once the person was erased.
READ_CERTIFICATE = text(f"{_CERTIFICATES} WHERE k.id = :certificate AND c.portal_id = :portal AND {_ALLOWED}")

# The latest duplicates of a certificate; a job of another portal, such as an operator's, is not named.
READ_DUPLICATES = text("""
    SELECT d.number, d.document, d.locale, d.issued_at, CASE WHEN d.portal_id = :portal THEN d.job_id END AS job
    FROM certificate_duplicate d WHERE d.certificate_id = :certificate ORDER BY d.ordinal DESC LIMIT :most""")


class ParticipantProgress(NamedTuple):
    """The progress of a participant.

    Parameters:
      contract, company, training: their references.
      certificate_held: the code that says why the certificate could not be printed, or None.
    """

    enrollment_id: UUID
    contract: str
    company: str
    training: str
    training_title: str
    account_id: UUID
    email: str
    first_name: str
    last_name: str
    external_id: str | None
    progress: str
    started_at: datetime | None
    completed_at: datetime | None
    progress_at: datetime | None
    score: float | None
    time_spent_seconds: int
    enrolled_at: datetime
    withdrawn_at: datetime | None
    detached_at: datetime | None
    certificate_held: str | None


class PortalCertificate(NamedTuple):
    """A version of a certificate.

    Parameters:
      snapshot: what it says; None when that is kept no longer, or the person was erased.
    """

    id: UUID
    enrollment_id: UUID
    contract: str
    number: str
    code: str
    version: int
    issued_at: datetime
    revoked_at: datetime | None
    revocation_reason: str | None
    kept_until: datetime
    replaced_by: UUID | None
    replaced_at: datetime | None
    snapshot: Any


class RegisteredDuplicate(NamedTuple):
    """A duplicate of a certificate; `job` is the one that made it."""

    number: str
    document: str
    locale: str
    issued_at: datetime
    job: UUID | None


def show_progress(session: Session, key: KnownKey, enrollment_id: UUID) -> dict[str, Any] | None:
    """Shows the progress of a participant with their certificates; None when this key may see no such participant."""
    found = fetch_one(session, ParticipantProgress, READ_PROGRESS, {"enrollment": enrollment_id} | _rights(key))
    if found is None:
        return None
    certificates = fetch(session, PortalCertificate, READ_CERTIFICATES, {"enrollment": enrollment_id})
    return as_json(found) | {"certificates": [_certificate(one) for one in certificates]}


def show_certificate(session: Session, key: KnownKey, certificate_id: UUID) -> dict[str, Any] | None:
    """Shows a certificate, what it says and its duplicates; None when this key may see no such certificate."""
    found = fetch_one(session, PortalCertificate, READ_CERTIFICATE, {"certificate": certificate_id} | _rights(key))
    if found is None:
        return None
    asked = {"certificate": certificate_id, "portal": key.portal_id, "most": MOST_DUPLICATES}
    duplicates = fetch(session, RegisteredDuplicate, READ_DUPLICATES, asked)
    return _certificate(found) | {"says": _said(found.snapshot), "duplicates": [as_json(one) for one in duplicates]}


def find_duplicates(session: Session, key: KnownKey, job_id: UUID, kind: str) -> DuplicateFile | Code:
    """Finds the file that a job of duplicates made.

    Parameters:
      kind: `pdf` or `zip`.

    Returns: the file; or `not_found`, `expired_link`, or `certificate_revoked` of a single document.
    """
    job = find_visible_job(session, key, job_id)
    file = None if job is None else find_by_job(session, key.portal_id, job_id)
    if file is None or file.kind != kind or file.portal_id != key.portal_id:
        return Code.NOT_FOUND
    if file.expired:
        return Code.EXPIRED_LINK
    return Code.CERTIFICATE_REVOKED if file.revoked else file


def _rights(key: KnownKey) -> dict[str, Any]:
    companies: Sequence[str] | None = key.companies
    return {"portal": key.portal_id, "companies": None if companies is None else text_array(companies)}


def _certificate(found: PortalCertificate) -> dict[str, Any]:
    """Returns a certificate as JSON, without what it says."""
    status = certificate_status(replaced_at=found.replaced_at, revoked_at=found.revoked_at)
    shown = {name: value for name, value in as_json(found).items() if name != "snapshot"}
    return shown | {
        "code": group_code(found.code),
        "verify_url": verify_url(found.code),
        "status": status.word,
        "since": status.since.isoformat() if status.since else None,
    }


def _said(snapshot: Any) -> dict[str, Any] | None:
    """Returns what a certificate says of the person and the training."""
    if snapshot is None:
        return None
    hidden = {"form", "issuer", "colour", "logo", "verify_url"}
    said: dict[str, Any] = CertificateSnapshot.model_validate(snapshot).model_dump(mode="json", exclude=hidden)
    return said
