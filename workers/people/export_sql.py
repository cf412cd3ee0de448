"""The statements of an export, with one record for each kind of row.

Parameters of the statements: the account, the portal that asks (None reads everything), and the person's addresses,
mails and jobs that were found.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Executable, Text, Uuid, and_, any_, bindparam, case, or_, text
from sqlalchemy.orm import Mapped
from sqlmodel import col

from models.audit import Audit
from models.contract import Company, Contract, Training
from models.correction import EmailCorrection
from models.email import Email, Suppression
from models.enrollment import Enrollment
from models.job import Job, JobPerson
from models.link import Link
from models.name_correction import NameCorrection
from models.password import SignIn
from models.portal import Portal
from models.throttle import Throttle
from models.words import EmailState
from workers.requests.accounts import ExportPerson
from workers.sql import select_record

_PORTAL: Final = bindparam("portal", type_=Uuid())
_ACCOUNT: Final = bindparam("account", type_=Uuid())
_ADDRESSED: Final = bindparam("addressed", type_=ARRAY(Uuid()))
_EMAILS: Final = bindparam("emails", type_=ARRAY(Text()))
_SUBJECTS: Final = bindparam("subjects", type_=ARRAY(Uuid()))
_SCOPES: Final = bindparam("scopes", type_=ARRAY(Text()))
_JOBS: Final = bindparam("jobs", type_=ARRAY(Uuid()))


def _own(portal_id: Mapped[UUID] | Mapped[UUID | None]) -> ColumnElement[bool]:
    """Builds the condition that a row belongs to the asking portal; without a portal every row is read."""
    return or_(_PORTAL.is_(None), portal_id == _PORTAL)


class ExportedAccount(NamedTuple):
    """The login. Only the portal that enrolled the person first gets names and language, because it sent them."""

    id: UUID
    address: str
    first_name: str | None
    last_name: str | None
    locale: str | None
    created_at: datetime | None
    activated_at: datetime | None


# Data that another portal typed is left out: else a portal could read it by enrolling the person's address.
READ_ACCOUNT: Final = text("""
    SELECT a.id, a.email_norm AS address, own.first_name, own.last_name, own.locale, own.created_at, a.activated_at
    FROM account a LEFT JOIN account own ON own.id = a.id AND (CAST(:portal AS uuid) IS NULL OR (
      SELECT c.portal_id FROM enrollment e JOIN contract c ON c.id = e.contract_id
      WHERE e.account_id = a.id ORDER BY e.enrolled_at, e.id LIMIT 1) = :portal)
    WHERE a.id = :account""")


class ExportedEnrollment(NamedTuple):
    """An enrollment, with the portal's references of its contract."""

    id: UUID
    portal: str
    company: str
    training: str
    contract: str
    external_id: str | None
    first_name: str | None
    last_name: str | None
    enrolled_at: datetime
    progress: str
    started_at: datetime | None
    completed_at: datetime | None
    progress_at: datetime | None
    score: float | None
    scored_at: datetime | None
    time_spent_seconds: int
    withdrawn_at: datetime | None
    detached_at: datetime | None
    reminders: int
    next_reminder_at: datetime | None
    release_warned_at: datetime | None


READ_ENROLLMENTS: Final = (
    select_record(
        ExportedEnrollment,
        Enrollment,
        portal=col(Portal.name),
        company=col(Company.name),
        training=col(Training.title),
        contract=col(Contract.reference),
        reminders=col(Enrollment.reminders),
    )
    .join_from(Enrollment, Contract, col(Contract.id) == Enrollment.contract_id)
    .join(Portal, col(Portal.id) == Contract.portal_id)
    .join(Company, col(Company.id) == Contract.company_id)
    .join(Training, col(Training.id) == Contract.training_id)
    .where(col(Enrollment.account_id) == _ACCOUNT, _own(col(Contract.portal_id)))
    .order_by(col(Enrollment.id))
)


_SENT: Final = (EmailState.SENT, EmailState.BOUNCED, EmailState.COMPLAINED)


class ExportedMail(NamedTuple):
    """A mail to the person, or to one of their addresses."""

    id: UUID
    kind: str
    address: str
    locale: str
    date: datetime
    state: str
    sent_at: datetime | None


READ_MAILS: Final = (
    select_record(
        ExportedMail,
        Email,
        address=col(Email.to_address),
        sent_at=case((or_(*(col(Email.state) == state for state in _SENT)), col(Email.finished_at))),
    )
    .join_from(Email, Contract, col(Contract.id) == Email.contract_id, isouter=True)
    .where(
        or_(col(Email.account_id) == _ACCOUNT, col(Email.id) == any_(_ADDRESSED)),
        _own(col(Contract.portal_id)),
    )
    .order_by(col(Email.id))
)


class ExportedCorrection(NamedTuple):
    """A correction of the account's address."""

    old_email: str
    new_email: str
    state: str
    ground: str | None
    asked_at: datetime
    confirmed_at: datetime | None
    agreed_at: datetime | None
    ended_at: datetime | None


READ_CORRECTIONS: Final = (
    select_record(ExportedCorrection, EmailCorrection)
    .where(col(EmailCorrection.account_id) == _ACCOUNT, _own(col(EmailCorrection.portal_id)))
    .order_by(col(EmailCorrection.id))
)


class ExportedNameCorrection(NamedTuple):
    """A correction of the account's name, with the names that the asking portal may see.

    The earlier name is left out for portals: another portal may have typed it.
    """

    old_first_name: str | None
    old_last_name: str | None
    new_first_name: str
    new_last_name: str
    state: str
    ground: str | None
    asked_at: datetime
    ended_at: datetime | None


READ_NAME_CORRECTIONS: Final = (
    select_record(
        ExportedNameCorrection,
        NameCorrection,
        old_first_name=case((_PORTAL.is_(None), col(NameCorrection.old_first_name))),
        old_last_name=case((_PORTAL.is_(None), col(NameCorrection.old_last_name))),
    )
    .where(col(NameCorrection.account_id) == _ACCOUNT, _own(col(NameCorrection.portal_id)))
    .order_by(col(NameCorrection.id))
)


class ExportedCertificate(NamedTuple):
    """A certificate with its printed data and its duplicates."""

    id: UUID
    number: str
    version: int
    certificate: dict[str, Any] | None
    issued_at: datetime
    revoked_at: datetime | None
    revocation_reason: str | None
    duplicates: list[dict[str, Any]] | None


READ_CERTIFICATES: Final = text("""
    SELECT k.id, k.number, k.version, k.snapshot AS certificate, k.issued_at, k.revoked_at, k.revocation_reason,
      (SELECT json_agg(json_build_object('number', d.number, 'document', d.document, 'locale', d.locale,
         'requested_by', d.requested_by, 'issued_at', d.issued_at) ORDER BY d.ordinal)
       FROM certificate_duplicate d WHERE d.certificate_id = k.id) AS duplicates
    FROM certificate k JOIN enrollment e ON e.id = k.enrollment_id JOIN contract c ON c.id = e.contract_id
    WHERE e.account_id = :account AND (CAST(:portal AS uuid) IS NULL OR c.portal_id = :portal) ORDER BY k.id""")


class ExportedFileRow(NamedTuple):
    """A line of a roster file about the person, its result, and whether the file is still kept."""

    job_id: UUID
    portal: str
    file_name: str
    sha256: str
    at: datetime
    line: int | None
    code: str
    kept: bool


READ_FILES: Final = text("""
    SELECT ro.job_id, po.name AS portal, ro.file_name, encode(ro.sha256, 'hex') AS sha256, ro.created_at AS at,
      CAST(p.detail->>'line' AS int) AS line, p.code, rf.sha256 IS NOT NULL AS kept
    FROM roster ro JOIN job_person p ON p.job_id = ro.job_id AND p.account_id = :account
    JOIN portal po ON po.id = ro.portal_id
    LEFT JOIN roster_file rf ON rf.portal_id = ro.portal_id AND rf.sha256 = ro.sha256
    WHERE (CAST(:portal AS uuid) IS NULL OR ro.portal_id = :portal) ORDER BY ro.job_id, p.position""")


class ExportedChange(NamedTuple):
    """An entry of the audit trail."""

    at: datetime
    portal: str | None
    requested_by: str
    action: str
    result: str
    job_id: UUID | None
    detail: dict[str, Any] | None


READ_CHANGES: Final = (
    select_record(ExportedChange, Audit, portal=col(Portal.name))
    .join_from(Audit, Portal, col(Portal.id) == Audit.portal_id, isouter=True)
    .where(col(Audit.account_id) == _ACCOUNT, _own(col(Audit.portal_id)))
    .order_by(col(Audit.id))
)


class ExportedLink(NamedTuple):
    """A link that was sent to the person, without its token."""

    purpose: str
    created_at: datetime
    expires_at: datetime
    consumed_at: datetime | None
    voided_at: datetime | None
    resent: int


READ_LINKS: Final = select_record(ExportedLink, Link).where(col(Link.account_id) == _ACCOUNT).order_by(col(Link.id))


class ExportedSuppression(NamedTuple):
    """An address of the person that is on the suppression list."""

    address: str
    reason: str
    created_at: datetime
    until: datetime | None


READ_SUPPRESSIONS: Final = (
    select_record(ExportedSuppression, Suppression, address=col(Suppression.email_norm))
    .where(col(Suppression.email_norm) == any_(_EMAILS))
    .order_by(col(Suppression.email_norm))
)


class ExportedFailures(NamedTuple):
    """The count of wrong passwords in a row, for the account or one of its addresses."""

    failures: int
    failed_at: datetime
    locked_until: datetime | None


READ_FAILURES: Final = (
    select_record(ExportedFailures, SignIn)
    .where(col(SignIn.subject) == any_(_SUBJECTS))
    .order_by(col(SignIn.failed_at))
)


class ExportedThrottle(NamedTuple):
    """A rate limit counter of the account, or of one of its addresses."""

    scope: str
    times: int
    at: datetime


READ_THROTTLES: Final = (
    select_record(ExportedThrottle, Throttle)
    .where(
        col(Throttle.scope) == any_(_SCOPES),
        col(Throttle.subject) == any_(_SUBJECTS),
    )
    .order_by(col(Throttle.at), col(Throttle.id))
)


class ExportedSection(NamedTuple):
    """A part of the export: its key, its record and its statement."""

    record: type[tuple[Any, ...]]
    statement: Executable


OF_COMPANIES: Final = {
    "enrollments": ExportedSection(ExportedEnrollment, READ_ENROLLMENTS),
    "mails": ExportedSection(ExportedMail, READ_MAILS),
    "corrections": ExportedSection(ExportedCorrection, READ_CORRECTIONS),
    "name_corrections": ExportedSection(ExportedNameCorrection, READ_NAME_CORRECTIONS),
    "certificates": ExportedSection(ExportedCertificate, READ_CERTIFICATES),
    "files": ExportedSection(ExportedFileRow, READ_FILES),
    "audit": ExportedSection(ExportedChange, READ_CHANGES),
}
"""Parts that belong to a company, and so to its portal."""

OF_THE_ACCOUNT: Final = {
    "links": ExportedSection(ExportedLink, READ_LINKS),
    "suppression": ExportedSection(ExportedSuppression, READ_SUPPRESSIONS),
    "sign_in_failures": ExportedSection(ExportedFailures, READ_FAILURES),
    "throttles": ExportedSection(ExportedThrottle, READ_THROTTLES),
}
"""Parts that belong to the login; no portal receives them."""


class ExportedResult(NamedTuple):
    """The result of the person in a job of several people."""

    job_id: UUID
    kind: str
    finished_at: datetime | None
    position: int
    code: str
    detail: dict[str, Any] | None


READ_RESULTS: Final = (
    select_record(ExportedResult, Job, JobPerson, position=col(JobPerson.position))
    .join_from(Job, JobPerson, and_(col(JobPerson.job_id) == Job.id, col(JobPerson.account_id) == _ACCOUNT))
    .where(col(Job.id) == any_(_JOBS), _own(col(Job.portal_id)))
    .order_by(col(Job.id), col(JobPerson.position))
)


class SingleResult(NamedTuple):
    """A job that stores the results of its people in its own result, as a request for one person does."""

    job_id: UUID
    kind: str
    finished_at: datetime | None
    result: dict[str, Any]


READ_SINGLE_RESULTS: Final = (
    select_record(SingleResult, Job, job_id=col(Job.id))
    .where(
        col(Job.id) == any_(_JOBS),
        col(Job.kind) != ExportPerson.kind,
        col(Job.result).is_not(None),
        _own(col(Job.portal_id)),
    )
    .order_by(col(Job.id))
)
