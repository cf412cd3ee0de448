"""Correcting a certificate, by a new version the earlier one names; and revoking one."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, update
from sqlmodel import col

from models.base import new_id
from models.certificate import Certificate, new_verification_code, not_issued_because
from models.document import CertificateSnapshot
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, JobState, Progress
from workers.audit import record
from workers.certificates.enrollments import (
    CertifiableEnrollment,
    CurrentCertificate,
    hold_enrollments,
    snapshot_of,
    verify_url,
)
from workers.certificates.issuing import NewCertificate, write_certificates
from workers.database import Session
from workers.requests.certificates import CorrectCertificate, RevokeCertificate

PRINTED_NAMES: Final = ("first_name", "last_name")


class _Certified(NamedTuple):
    held: CertifiableEnrollment
    certificate: CurrentCertificate


def correct_certificate(
    session: Session, portal_id: UUID, job_id: UUID, request: CorrectCertificate
) -> tuple[JobState, dict[str, Any]]:
    """Does a `correct_certificate` job: a new number and code; the earlier certificate says by which it is replaced.

    Refuses: `not_found`, `not_completed`, `not_issued`, `unknown_organisation`, `certificate_revoked`,
    `names_not_kept`, `unchanged` (nothing is corrected).

    Raises: a transient error of the database when the enrollment is held for over 250 ms.
    """
    found = _find(session, portal_id, request.enrollment_id)
    if isinstance(found, Code):
        return _refused(found)
    new = _corrected(found, request, new_verification_code())
    if isinstance(new, Code):
        return _refused(new)
    held, earlier = found
    # The earlier one first: of the versions of an enrollment one alone is not replaced.
    replaced = update(Certificate).where(col(Certificate.id) == earlier.id).values(replaced_by=new.certificate_id)
    session.execute(replaced)
    issued = write_certificates(session, [new])[held.id]
    changed = _changed(CertificateSnapshot.model_validate(earlier.snapshot), new.snapshot)
    detail = {"replaces": earlier.number, "number": issued.number, "changed": changed}
    _audit(session, held, request, detail, portal_id=portal_id, job_id=job_id)
    answer = {"certificate_id": str(issued.certificate_id), "number": issued.number, "replaces": earlier.number}
    return JobState.SUCCEEDED, {"code": Code.REISSUED, **answer}


def revoke_certificate(
    session: Session, portal_id: UUID, job_id: UUID, request: RevokeCertificate
) -> tuple[JobState, dict[str, Any]]:
    """Does a `revoke_certificate` job: from now on it is told to be revoked, and no duplicate is made of it.

    Refuses: `not_found`, `not_completed`, `not_issued`, `unknown_organisation`, `certificate_revoked`,
    `names_not_kept`.

    Raises: a transient error of the database when the enrollment is held for over 250 ms.
    """
    found = _find(session, portal_id, request.enrollment_id)
    if isinstance(found, Code):
        return _refused(found)
    held, certificate = found
    revoked = {"revoked_at": func.now(), "revocation_reason": request.reason}
    session.execute(update(Certificate).where(col(Certificate.id) == certificate.id).values(revoked))
    _audit(session, held, request, {"number": certificate.number}, portal_id=portal_id, job_id=job_id)
    return JobState.SUCCEEDED, {"code": Code.REVOKED, "number": certificate.number}


def _find(session: Session, portal_id: UUID, enrollment_id: UUID) -> _Certified | Code:
    """The enrollment with its certificate in force, or why there is none. The portal `local` finds those of all."""
    held = hold_enrollments(session, [enrollment_id]).get(enrollment_id)
    if held is None or portal_id not in (held.portal_id, LOCAL_PORTAL_ID):
        return Code.NOT_FOUND
    certificate = held.certificate
    if certificate is None:
        organised, named = held.organisation_id is not None, held.first_name is not None
        because = not_issued_because(Progress(held.progress), organisation=organised, names=named)
        return because or Code.NOT_ISSUED
    return Code.CERTIFICATE_REVOKED if certificate.revoked_at is not None else _Certified(held, certificate)


def _corrected(found: _Certified, request: CorrectCertificate, code: str) -> NewCertificate | Code:
    """The certificate that takes the place of the other, or why it cannot."""
    held, certificate = found
    if certificate.snapshot is None:
        return Code.NAMES_NOT_KEPT
    earlier = CertificateSnapshot.model_validate(certificate.snapshot)
    names = {name: getattr(request, name) or getattr(earlier, name) for name in PRINTED_NAMES}
    snapshot = _written_again(held, names, code) if request.reread else _renamed(earlier, names, code)
    if isinstance(snapshot, Code):
        return snapshot
    if not _changed(earlier, snapshot):
        return Code.UNCHANGED
    # Its number is from the sequence of the organisation that signs it: read again, that may be another one.
    organisation_id = (held.organisation_id if request.reread else None) or certificate.issued_by
    return NewCertificate(
        new_id(), held.id, organisation_id, snapshot, code, held.now, held.completed_at, certificate.version + 1
    )


def _renamed(earlier: CertificateSnapshot, names: Mapping[str, str], code: str) -> CertificateSnapshot:
    return earlier.model_copy(update={**names, "verify_url": verify_url(code)})


def _written_again(held: CertifiableEnrollment, names: Mapping[str, str], code: str) -> CertificateSnapshot | Code:
    """Everything as it is now, but for the names: those of the account may have changed since, and that was not asked.

    The names are what was printed, or what is asked to be printed.
    """
    if held.organisation_id is None:
        return Code.UNKNOWN_ORGANISATION
    if held.first_name is None:
        return Code.NAMES_NOT_KEPT
    return snapshot_of(held, code).model_copy(update=names)


def _changed(earlier: CertificateSnapshot, corrected: CertificateSnapshot) -> list[str]:
    """The parts that differ, by name: their values are no matter of the audit trail."""
    return [
        name
        for name in CertificateSnapshot.model_fields
        if name != "verify_url" and getattr(earlier, name) != getattr(corrected, name)
    ]


def _refused(code: Code) -> tuple[JobState, dict[str, Any]]:
    return JobState.REFUSED, {"code": code, "field": "enrollment_id"}


def _audit(
    session: Session,
    held: CertifiableEnrollment,
    request: CorrectCertificate | RevokeCertificate,
    detail: dict[str, Any],
    *,
    portal_id: UUID,
    job_id: UUID,
) -> None:
    record(
        session,
        request.kind,
        portal_id=portal_id,
        requested_by=request.requested_by,
        company_id=held.company_id,
        account_id=held.account_id,
        subject_id=held.id,
        job_id=job_id,
        detail=detail | {"reason": request.reason},
    )
