"""Correcting a certificate, by a new version the earlier one names; and revoking one."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.certificate import new_verification_code, not_issued_because
from models.document import CertificateSnapshot
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, JobState, Progress
from workers.audit import record
from workers.certificates.issuing import (
    NewCertificate,
    hold,
    snapshot_of,
    verify_url,
    write,
)
from workers.database import Session
from workers.requests.certificates import CorrectCertificate, RevokeCertificate

REPLACE_CERTIFICATE = text("UPDATE certificate SET replaced_by = :by WHERE id = :id")

REVOKE_CERTIFICATE = text("UPDATE certificate SET revoked_at = now(), revocation_reason = :reason WHERE id = :id")

PRINTED_NAMES: Final = ("first_name", "last_name")


def correct_certificate(
    session: Session, portal_id: UUID, job_id: UUID, request: CorrectCertificate
) -> tuple[JobState, dict[str, Any]]:
    """Does a `correct_certificate` job: a new number and code; the earlier certificate says by which it is replaced.

    Refuses: `not_found`, `not_completed`, `not_issued`, `unknown_organisation`, `certificate_revoked`,
    `names_not_kept`, `unchanged` (nothing is corrected).

    Raises: a transient error of the database when the enrollment is held for over 250 ms.
    """
    fact = _find(session, portal_id, request.enrollment_id)
    if isinstance(fact, Code):
        return _refused(fact)
    code = new_verification_code()
    snapshot = _corrected(fact, request, code)
    if isinstance(snapshot, Code):
        return _refused(snapshot)
    # Its number is from the sequence of whoever signs it: read again, that may be another organisation.
    organisation_id = fact.organisation_id if request.reread else fact.issued_by
    new = NewCertificate(
        new_id(), fact.id, organisation_id, snapshot, code, fact.now, fact.completed_at, fact.version + 1
    )
    # The earlier one first: of the versions of an enrollment one alone is not replaced.
    session.execute(REPLACE_CERTIFICATE, {"id": fact.certificate_id, "by": new.certificate_id})
    issued = write(session, [new])[fact.id]
    corrected = {"replaces": fact.number, "number": issued.number, "changed": _changed(fact, snapshot)}
    _audit(session, fact, request, corrected, portal_id=portal_id, job_id=job_id)
    detail = {"certificate_id": str(issued.certificate_id), "number": issued.number, "replaces": fact.number}
    return JobState.SUCCEEDED, {"code": Code.REISSUED, **detail}


def revoke_certificate(
    session: Session, portal_id: UUID, job_id: UUID, request: RevokeCertificate
) -> tuple[JobState, dict[str, Any]]:
    """Does a `revoke_certificate` job: from now on it is told to be revoked, and no duplicate is made of it.

    Refuses: `not_found`, `not_completed`, `not_issued`, `unknown_organisation`, `certificate_revoked`,
    `names_not_kept`.

    Raises: a transient error of the database when the enrollment is held for over 250 ms.
    """
    fact = _find(session, portal_id, request.enrollment_id)
    if isinstance(fact, Code):
        return _refused(fact)
    session.execute(REVOKE_CERTIFICATE, {"id": fact.certificate_id, "reason": request.reason})
    _audit(session, fact, request, {"number": fact.number}, portal_id=portal_id, job_id=job_id)
    return JobState.SUCCEEDED, {"code": Code.REVOKED, "number": fact.number}


def _find(session: Session, portal_id: UUID, enrollment_id: UUID) -> Any:
    """The enrollment with its certificate in force, or why there is none. The portal `local` finds those of all."""
    fact = hold(session, [enrollment_id]).get(enrollment_id)
    if fact is None or portal_id not in (fact.portal_id, LOCAL_PORTAL_ID):
        return Code.NOT_FOUND
    if fact.certificate_id is None:
        organised, named = fact.organisation_id is not None, fact.first_name is not None
        because = not_issued_because(Progress(fact.progress), organisation=organised, names=named)
        return because or Code.NOT_ISSUED
    return Code.CERTIFICATE_REVOKED if fact.revoked_at is not None else fact


def _corrected(fact: Any, request: CorrectCertificate, code: str) -> CertificateSnapshot | Code:
    if fact.snapshot is None:
        return Code.NAMES_NOT_KEPT
    earlier = CertificateSnapshot.model_validate(fact.snapshot)
    names = {name: getattr(request, name) or getattr(earlier, name) for name in PRINTED_NAMES}
    corrected = _written_again(fact, request, earlier, names, code)
    return corrected if isinstance(corrected, Code) or _changed(fact, corrected) else Code.UNCHANGED


def _written_again(
    fact: Any, request: CorrectCertificate, earlier: CertificateSnapshot, names: Mapping[str, str], code: str
) -> CertificateSnapshot | Code:
    if not request.reread:
        return earlier.model_copy(update={**names, "verify_url": verify_url(code)})
    if fact.organisation_id is None:
        return Code.UNKNOWN_ORGANISATION
    if fact.first_name is None:
        return Code.NAMES_NOT_KEPT
    # Names are what was printed: those of the account may have changed since, and nobody asked for that.
    return snapshot_of(fact, code).model_copy(update=names)


def _changed(fact: Any, corrected: CertificateSnapshot) -> list[str]:
    """Which parts say something else now, by name: what they say is no matter of the audit trail."""
    earlier = CertificateSnapshot.model_validate(fact.snapshot)
    return [
        name
        for name in CertificateSnapshot.model_fields
        if name != "verify_url" and getattr(earlier, name) != getattr(corrected, name)
    ]


def _refused(code: Code) -> tuple[JobState, dict[str, Any]]:
    return JobState.REFUSED, {"code": code, "field": "enrollment_id"}


def _audit(
    session: Session,
    fact: Any,
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
        company_id=fact.company_id,
        account_id=fact.account_id,
        subject_id=fact.id,
        job_id=job_id,
        detail=detail | {"reason": request.reason},
    )
