"""Corrects a certificate by a new version, which the earlier one names; and revokes certificates."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, text, update
from sqlmodel import col

from models.base import new_id
from models.certificate import Certificate, new_verification_code, not_issued_because
from models.document import CertificateSnapshot
from models.name_correction import PrintedName, name_to_reprint
from models.person import printed_name
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, JobState, Progress, WebhookEvent
from workers.audit import record
from workers.certificates.enrollments import (
    CertifiableEnrollment,
    CurrentCertificate,
    hold_enrollments,
    snapshot_of,
    verify_url,
)
from workers.certificates.issuing import NewCertificate, hold_certificates, write_certificates
from workers.certificates.printing import find_unprintable
from workers.database import Session
from workers.outbox.events import EnrollmentNews, tell_of_enrollments
from workers.requests.certificates import CorrectCertificate, RevokeCertificate
from workers.sql import fetch_value

REVOKED: Final = WebhookEvent.CERTIFICATE_REVOKED

PRINTED_NAMES: Final = ("first_name", "last_name")

# Reads when the name of an account was last corrected; the account is held.
READ_CORRECTED_AT = text("""
    SELECT max(nc.ended_at) AS corrected_at FROM name_correction nc
    WHERE nc.account_id = :account AND nc.state = 'applied'""")

# Reads when a certificate was issued; its enrollment is held.
READ_ISSUED_AT = text("SELECT k.issued_at FROM certificate k WHERE k.id = :certificate")


class _Certified(NamedTuple):
    held: CertifiableEnrollment
    certificate: CurrentCertificate


def correct_certificate(
    session: Session, portal_id: UUID, job_id: UUID, request: CorrectCertificate
) -> tuple[JobState, dict[str, Any]]:
    """Does a `correct_certificate` job: the new version has its own number and code, and the earlier one names it.

    A certificate that was not issued because the fonts cannot print the name is issued with the given one.

    Refuses: `not_found`, `not_completed`, `not_issued`, `unknown_organisation`, `certificate_revoked`,
    `names_not_kept`, `name_not_printable`, `value_not_printable`, `unchanged` (nothing is corrected).

    Raises: a transient error of the database when the enrollment is held for over 250 ms.
    """
    found = _find(session, portal_id, request.enrollment_id)
    if found is Code.NOT_ISSUED and (request.first_name or request.last_name):
        return _issue_printable(session, portal_id, job_id, request)
    if isinstance(found, Code):
        return _refused(found)
    new = _corrected(session, found, request, new_verification_code())
    if isinstance(new, Code):
        return _refused(new)
    held, earlier = found
    # The earlier version is changed first: only one version of an enrollment may be without a replacement.
    replaced = update(Certificate).where(col(Certificate.id) == earlier.id).values(replaced_by=new.certificate_id)
    session.execute(replaced)
    issued = write_certificates(session, [new])[held.id]
    changed = _changed(CertificateSnapshot.model_validate(earlier.snapshot), new.snapshot)
    detail = {"replaces": earlier.number, "number": issued.number, "changed": changed}
    _audit(session, held, request, detail, portal_id=portal_id, job_id=job_id)
    answer = {"certificate_id": str(issued.certificate_id), "number": issued.number, "replaces": earlier.number}
    return JobState.SUCCEEDED, {"code": Code.REISSUED, **answer}


def _issue_printable(
    session: Session, portal_id: UUID, job_id: UUID, request: CorrectCertificate
) -> tuple[JobState, dict[str, Any]]:
    """Issues a certificate that the fonts could not print under the account's name, with the names of the request."""
    held = hold_enrollments(session, [request.enrollment_id])[request.enrollment_id]
    if held.certificate_held is None or held.detached_at is not None or held.organisation_id is None:
        return _refused(Code.NOT_ISSUED)
    code = new_verification_code()
    given = {name: given for name in PRINTED_NAMES if (given := getattr(request, name))}
    snapshot = snapshot_of(held, code).model_copy(update=given)
    if unprintable := find_unprintable(snapshot):
        return JobState.REFUSED, {"code": unprintable.code, "field": unprintable.field}
    issuer, completed_at = held.organisation_id, held.completed_at
    new = NewCertificate(new_id(), held.portal_id, held.id, issuer, snapshot, code, held.now, completed_at)
    issued = write_certificates(session, [new])[held.id]
    hold_certificates(session, [held], {})
    _audit(session, held, request, {"number": issued.number}, portal_id=portal_id, job_id=job_id)
    return JobState.SUCCEEDED, {
        "code": Code.ISSUED, "certificate_id": str(issued.certificate_id), "number": issued.number,
    }  # fmt: skip


def revoke_certificate(
    session: Session, portal_id: UUID, job_id: UUID, request: RevokeCertificate
) -> tuple[JobState, dict[str, Any]]:
    """Does a `revoke_certificate` job: from now on verification says that it is revoked, and no duplicate is made.

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
    told = {"certificate_id": str(certificate.id), "number": certificate.number}
    tell_of_enrollments(session, {held.portal_id}, {REVOKED}, [EnrollmentNews(REVOKED, held.id, told)])
    _audit(session, held, request, {"number": certificate.number}, portal_id=portal_id, job_id=job_id)
    return JobState.SUCCEEDED, {"code": Code.REVOKED, "number": certificate.number}


def _find(session: Session, portal_id: UUID, enrollment_id: UUID) -> _Certified | Code:
    """Finds an enrollment with its certificate in force, or why there is none. The portal `local` finds all of them."""
    held = hold_enrollments(session, [enrollment_id]).get(enrollment_id)
    if held is None or portal_id not in (held.portal_id, LOCAL_PORTAL_ID):
        return Code.NOT_FOUND
    certificate = held.certificate
    if certificate is None:
        organised, named = held.organisation_id is not None, held.first_name is not None
        because = not_issued_because(Progress(held.progress), organisation=organised, names=named)
        return because or Code.NOT_ISSUED
    return Code.CERTIFICATE_REVOKED if certificate.revoked_at is not None else _Certified(held, certificate)


def _corrected(session: Session, found: _Certified, request: CorrectCertificate, code: str) -> NewCertificate | Code:
    """Makes the certificate that replaces the other, or returns why it cannot be replaced."""
    held, certificate = found
    if certificate.snapshot is None:
        return Code.NAMES_NOT_KEPT
    earlier = CertificateSnapshot.model_validate(certificate.snapshot)
    kept = _name_now(session, found, earlier) if request.reread else earlier
    names = {name: _printed(getattr(request, name), getattr(kept, name)) for name in PRINTED_NAMES}
    if not any(names.values()):
        return Code.MISSING_NAME
    snapshot = _written_again(held, names, code) if request.reread else _renamed(earlier, names, code)
    if isinstance(snapshot, Code):
        return snapshot
    if not _changed(earlier, snapshot):
        return Code.UNCHANGED
    if unprintable := find_unprintable(snapshot):
        return unprintable.code
    # Its number is from the sequence of the organisation that signs it; after reading again that may be another one.
    organisation_id = (held.organisation_id if request.reread else None) or certificate.issued_by
    return NewCertificate(
        *(new_id(), held.portal_id, held.id, organisation_id, snapshot, code, held.now, held.completed_at),
        version=certificate.version + 1,
        replaces=certificate.number,
    )


def _printed(asked: str | None, earlier: str) -> str:
    """Returns the name to print: none where the request has only a sign in its place."""
    return printed_name(asked) if asked else earlier


def _name_now(session: Session, found: _Certified, earlier: CertificateSnapshot) -> PrintedName:
    """Returns the name to print: the printed one, or the account's if that was corrected since (``correct_name``)."""
    held, certificate = found
    printed = PrintedName(earlier.first_name, earlier.last_name)
    if held.first_name is None or held.last_name is None:
        return printed
    asked = {"account": held.account_id}
    corrected_at = fetch_value(session, datetime, READ_CORRECTED_AT, asked)
    issued_at = fetch_value(session, datetime, READ_ISSUED_AT, {"certificate": certificate.id}) or held.now
    account = PrintedName(printed_name(held.first_name), printed_name(held.last_name))
    return name_to_reprint(printed, account, issued_at=issued_at, corrected_at=corrected_at)


def _renamed(earlier: CertificateSnapshot, names: Mapping[str, str], code: str) -> CertificateSnapshot:
    return earlier.model_copy(update={**names, "verify_url": verify_url(code)})


def _written_again(held: CertifiableEnrollment, names: Mapping[str, str], code: str) -> CertificateSnapshot | Code:
    """Makes the snapshot anew from what is known now, with these names."""
    if held.organisation_id is None:
        return Code.UNKNOWN_ORGANISATION
    if held.first_name is None:
        return Code.NAMES_NOT_KEPT
    return snapshot_of(held, code).model_copy(update=names)


def _changed(earlier: CertificateSnapshot, corrected: CertificateSnapshot) -> list[str]:
    """Lists the names of the parts that differ; their values do not belong in the audit trail."""
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
