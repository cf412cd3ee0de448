"""Locks and reads the enrollments that certificates are issued for, with everything a certificate would say.

Lock order: accounts by address, enrollments by id. The lock of an enrollment is the lock of its certificates: none is
issued, corrected, revoked or duplicated without it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.certificate import IssuingFacts, freeze_certificate, group_code
from models.document import CertificateIssuer, CertificateSnapshot
from workers.database import Session, array, wait_briefly_for_locks
from workers.settings import get_settings
from workers.sql import fetch, joined

# Locks the accounts of these enrollments. An erasure locks the whole account, so this waits for it, and then reads the
# person as the erasure left them.
LOCK_ACCOUNTS = text("""
    SELECT a.id FROM account a
    WHERE a.id IN (SELECT e.account_id FROM enrollment e WHERE e.id = ANY(CAST(:enrollments AS uuid[])))
    ORDER BY a.email_norm FOR KEY SHARE""")

# Locks these enrollments, and by that their certificates.
LOCK_ENROLLMENTS = text("""
    SELECT e.id FROM enrollment e WHERE e.id = ANY(CAST(:enrollments AS uuid[])) ORDER BY e.id FOR NO KEY UPDATE""")

# Reads what a certificate would say about each enrollment, and the certificate in force. After an erasure the names are
# those that are kept for the time the law requires.
READ_ENROLLMENTS = text("""
    SELECT e.id, e.account_id, e.progress, e.detached_at, e.time_spent_seconds, e.score, e.certificate_held,
      coalesce(e.completed_at, e.progress_at, now()) AS completed_at,
      coalesce(e.started_at, e.enrolled_at) AS started_at,
      c.portal_id, c.company_id, c.reference AS contract_reference,
      CASE WHEN a.erased_at IS NULL THEN a.first_name ELSE ch.first_name END AS first_name,
      CASE WHEN a.erased_at IS NULL THEN a.last_name ELSE ch.last_name END AS last_name,
      co.name AS employer, co.colour, co.logo,
      tr.title, tr.nature, tr.objectives, tr.modality, tr.planned_minutes,
      o.id AS organisation_id, o.legal_name, o.address, o.siret, o.activity_number, o.activity_region,
      o.signatory_name, o.signatory_quality, o.place, o.colour AS issuer_colour, o.logo AS issuer_logo,
      k.id AS certificate_id, k.number, k.version, k.organisation_id AS issued_by, k.snapshot, k.revoked_at,
      now() AS now
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN portal po ON po.id = c.portal_id
    JOIN account a ON a.id = e.account_id
    JOIN company co ON co.id = c.company_id JOIN training tr ON tr.id = c.training_id
    LEFT JOIN organisation o ON o.id = po.organisation_id
    LEFT JOIN certificate_holder ch ON ch.enrollment_id = e.id
    LEFT JOIN certificate k ON k.enrollment_id = e.id AND k.replaced_by IS NULL
    WHERE e.id = ANY(CAST(:enrollments AS uuid[]))""")


class CurrentCertificate(NamedTuple):
    """The certificate in force of an enrollment.

    Parameters:
      issued_by: the organisation that gave its number.
      snapshot: its contents as JSON; None when they are kept no longer.
    """

    id: UUID
    number: str
    version: int
    issued_by: UUID
    snapshot: Any
    revoked_at: datetime | None


class CertifiableEnrollment(NamedTuple):
    """An enrollment that this transaction has locked, with what a certificate would say about it now.

    Parameters:
      certificate_held: the code that says why its certificate cannot be printed, or None.
      first_name, last_name: None once they are kept no longer.
      organisation_id: the organisation that signs for the portal; this and the fields after it are None without one.
      certificate_id: the certificate in force; this and the fields after it, but `now`, are None without one.
    """

    id: UUID
    account_id: UUID
    progress: str
    detached_at: datetime | None
    time_spent_seconds: int
    score: float | None
    certificate_held: str | None
    completed_at: datetime
    started_at: datetime
    portal_id: UUID
    company_id: UUID
    contract_reference: str
    first_name: str | None
    last_name: str | None
    employer: str
    colour: str | None
    logo: str | None
    title: str
    nature: str
    objectives: Any
    modality: str | None
    planned_minutes: int | None
    organisation_id: UUID | None
    legal_name: str | None
    address: Any
    siret: str | None
    activity_number: str | None
    activity_region: str | None
    signatory_name: str | None
    signatory_quality: str | None
    place: str | None
    issuer_colour: str | None
    issuer_logo: str | None
    certificate_id: UUID | None
    number: str | None
    version: int | None
    issued_by: UUID | None
    snapshot: Any
    revoked_at: datetime | None
    now: datetime

    @property
    def certificate(self) -> CurrentCertificate | None:
        """The certificate in force."""
        columns = (self.certificate_id, self.number, self.version, self.issued_by, self.snapshot, self.revoked_at)
        return joined(CurrentCertificate, *columns)


def hold_enrollments(session: Session, enrollments: Sequence[UUID]) -> dict[UUID, CertifiableEnrollment]:
    """Locks these enrollments, and by that their certificates; returns those that exist.

    Raises: a transient error of the database when one is held for over 250 ms.
    """
    wait_briefly_for_locks(session)
    asked = {"enrollments": array(enrollments)}
    session.execute(LOCK_ACCOUNTS, asked)
    session.execute(LOCK_ENROLLMENTS, asked)
    return {held.id: held for held in fetch(session, CertifiableEnrollment, READ_ENROLLMENTS, asked)}


def snapshot_of(held: CertifiableEnrollment, code: str) -> CertificateSnapshot:
    """Makes the snapshot of a certificate that is issued now under this code.

    Raises: pydantic's ValidationError when no organisation signs, or the names are kept no longer.
    """
    issuer = CertificateIssuer.model_validate(
        {
            "legal_name": held.legal_name,
            "address": tuple(held.address or ()),
            "siret": held.siret,
            "activity_number": held.activity_number,
            "activity_region": held.activity_region,
            "signatory_name": held.signatory_name,
            "signatory_quality": held.signatory_quality,
            "place": held.place,
            "colour": held.issuer_colour,
            "logo": held.issuer_logo,
        }
    )
    known = {name: getattr(held, name) for name in IssuingFacts._fields if name != "objectives"}
    return freeze_certificate(issuer, IssuingFacts(**known, objectives=held.objectives or ()), verify_url(code))


def verify_url(code: str) -> str:
    """Returns the address of the page where a reader can compare the certificate."""
    return f"{get_settings().link_base_url.rstrip('/')}/certificates/{group_code(code)}"
