"""Issues certificates: with a number without gaps, a code that cannot be guessed, and contents that never change.

Lock order: job rows, then as in ``workers/certificates/enrollments.py``, then the counters of organisations by id.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.certificate import (
    Certificate,
    CertificateCounter,
    certificate_number,
    new_verification_code,
    not_issued_because,
)
from models.document import CertificateSnapshot
from models.enrollment import Enrollment
from models.paris import day_in_paris
from models.retention import names_kept_until
from models.words import Code, JobState, Progress, WebhookEvent
from workers.certificates.enrollments import CertifiableEnrollment, hold_enrollments, snapshot_of
from workers.certificates.printing import find_unprintable
from workers.database import Session
from workers.engine.acceptance import owe_successor
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, one_or_none
from workers.outbox.events import EnrollmentNews, tell_of_enrollments
from workers.requests.certificates import CatchUpCertificates
from workers.requests.internal import IssueCertificate
from workers.requests.registry import parse
from workers.sql import JsonRows, Unnest, fetch, fetch_values

UNPRINTABLE: Final = frozenset({Code.NAME_NOT_PRINTABLE, Code.VALUE_NOT_PRINTABLE})
"""Codes of certificates that the fonts cannot print, until the name or text is corrected."""

CATCH_UP: Final = 500
"""The number of certificates that one transaction of a catch-up issues."""


class _TakenNumbers(NamedTuple):
    organisation_id: UUID
    year: int
    last: int


class _CertificateRow(NamedTuple):
    id: UUID
    enrollment_id: UUID
    version: int
    organisation_id: UUID
    number: str
    code: str
    snapshot: Mapping[str, Any]
    kept_until: datetime


class _HeldCertificate(NamedTuple):
    id: UUID
    certificate_held: str | None


_HELD: Final = Unnest(_HeldCertificate, Enrollment, alias="given")
_WANTED: Final = Unnest(_TakenNumbers, CertificateCounter, alias="given")
_CERTIFICATES: Final = JsonRows(_CertificateRow, Certificate, alias="given")

# Takes so many numbers of each organisation and year. The counter stays locked until the certificates are committed
# with it, so that there is no gap; in the order of the organisation, or two transactions would deadlock.
TAKE_NUMBERS = text(f"""
    INSERT INTO certificate_counter ({_WANTED.columns})
    SELECT {_WANTED.columns} FROM {_WANTED} ORDER BY organisation_id, year
    ON CONFLICT (organisation_id, year) DO UPDATE SET last = certificate_counter.last + excluded.last
    RETURNING organisation_id, year, last""")

# Records certificates under the numbers they were given in this transaction.
INSERT_CERTIFICATES = text(f"""
    INSERT INTO certificate ({_CERTIFICATES.columns}, issued_at)
    SELECT {_CERTIFICATES.columns}, now() FROM {_CERTIFICATES}""")

# Finds completed enrollments that have no certificate yet, although an organisation signs for their portal and their
# names are known; it locks nothing.
FIND_NOT_ISSUED = text(f"""
    SELECT e.id FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN portal po ON po.id = c.portal_id
    JOIN account a ON a.id = e.account_id
    WHERE e.progress = '{Progress.COMPLETED}' AND e.detached_at IS NULL AND po.organisation_id IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM certificate k WHERE k.enrollment_id = e.id)
      AND (a.erased_at IS NULL OR EXISTS (SELECT 1 FROM certificate_holder ch WHERE ch.enrollment_id = e.id))
    ORDER BY e.certificate_held IS NOT NULL, e.id LIMIT :size""")

# Remembers why certificates cannot be printed, until they are issued; the enrollments are held.
HOLD_CERTIFICATES = text(f"""
    UPDATE enrollment SET certificate_held = given.certificate_held FROM {_HELD} WHERE enrollment.id = given.id""")


class NewCertificate(NamedTuple):
    """A certificate about to be issued.

    Parameters:
      version: 1, or one more than that of the certificate it corrects.
      replaces: the number of the certificate it corrects.
    """

    certificate_id: UUID
    portal_id: UUID
    enrollment_id: UUID
    organisation_id: UUID
    snapshot: CertificateSnapshot
    code: str
    now: datetime
    completed_at: datetime
    version: int = 1
    replaces: str | None = None

    @property
    def sequence(self) -> tuple[UUID, int]:
        """The organisation and the year in which its number counts."""
        return self.organisation_id, day_in_paris(self.now).year


class IssuedCertificate(NamedTuple):
    """The certificate that an enrollment has."""

    certificate_id: UUID
    number: str


def issue_certificates(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of claimed `issue_certificate` jobs: one certificate per enrollment, however often it is asked."""
    asked = [cast("IssueCertificate", parse(row.columns.kind, row.columns.request, internal=True)) for row in rows]
    held = hold_enrollments(session, [one.enrollment_id for one in asked])
    issued = issue(session, held)
    return [_outcome(row, held.get(one.enrollment_id), issued) for row, one in zip(rows, asked, strict=True)]


def _outcome(
    row: ClaimedRow, held: CertifiableEnrollment | None, issued: Mapping[UUID, IssuedCertificate | Code]
) -> WorkOutcome:
    certificate = issued[held.id] if held is not None else Code.NOT_FOUND
    person = _result(held, certificate)
    state = JobState.SUCCEEDED if isinstance(certificate, IssuedCertificate) else JobState.REFUSED
    return WorkOutcome(row.id, row.claim, state, {"counts": Counter([person.code]), **one_or_none([person])})


def _result(held: CertifiableEnrollment | None, certificate: IssuedCertificate | Code) -> PersonResult:
    account_id, enrollment_id = (held.account_id, held.id) if held is not None else (None, None)
    if isinstance(certificate, Code):
        return PersonResult(0, certificate, _unprintable_field(held, certificate), account_id, enrollment_id)
    detail = {"certificate_id": str(certificate.certificate_id), "number": certificate.number}
    return PersonResult(0, Code.ISSUED, None, account_id, enrollment_id, detail)


def _unprintable_field(held: CertifiableEnrollment | None, code: Code) -> str | None:
    """Returns the field that the fonts cannot print, for a certificate that is not issued for that reason."""
    if held is None or code not in UNPRINTABLE:
        return None
    unprintable = find_unprintable(snapshot_of(held, ""))
    return None if unprintable is None else unprintable.field


def issue(session: Session, held: Mapping[UUID, CertifiableEnrollment]) -> dict[UUID, IssuedCertificate | Code]:
    """Issues the missing certificates of locked enrollments; returns the certificate of each, or why it has none."""
    answers: dict[UUID, IssuedCertificate | Code] = {}
    missing = []
    for enrollment_id, one in sorted(held.items()):
        if (certificate := one.certificate) is not None:
            answers[enrollment_id] = IssuedCertificate(certificate.id, certificate.number)
        elif isinstance(new := _new(one), Code):
            answers[enrollment_id] = new
        else:
            missing.append(new)
    hold_certificates(session, held.values(), answers)
    return answers | write_certificates(session, missing)


def hold_certificates(
    session: Session,
    held: Iterable[CertifiableEnrollment],
    answers: Mapping[UUID, IssuedCertificate | Code],
) -> None:
    """Remembers which of these certificates cannot be printed: `status` tells them, and others are issued before them.

    Parameters:
      answers: why an enrollment has no certificate; one that is issued now is left out.
    """
    now = {one.id: code if (code := answers.get(one.id)) in UNPRINTABLE else None for one in held}
    before = {one.id: one.certificate_held for one in held}
    changed = [_HeldCertificate(one, code) for one, code in now.items() if code != before[one]]
    if changed:
        session.execute(HOLD_CERTIFICATES, _HELD.parameters(changed))


def _new(held: CertifiableEnrollment) -> NewCertificate | Code:
    if held.detached_at is not None:
        return Code.DETACHED
    organised, named = held.organisation_id is not None, held.first_name is not None
    if refused := not_issued_because(Progress(held.progress), organisation=organised, names=named):
        return refused
    if held.organisation_id is None:
        return Code.UNKNOWN_ORGANISATION
    code = new_verification_code()
    snapshot = snapshot_of(held, code)
    if unprintable := find_unprintable(snapshot):
        return unprintable.code
    return NewCertificate(
        new_id(), held.portal_id, held.id, held.organisation_id, snapshot, code, held.now, held.completed_at
    )


def write_certificates(session: Session, certificates: Sequence[NewCertificate]) -> dict[UUID, IssuedCertificate]:
    """Gives these certificates their numbers and records them; returns each by its enrollment."""
    if not certificates:
        return {}
    wanted = Counter(one.sequence for one in certificates)
    rows = [_TakenNumbers(organisation, year, number) for (organisation, year), number in wanted.items()]
    taken = fetch(session, _TakenNumbers, TAKE_NUMBERS, _WANTED.parameters(rows))
    following = {(one.organisation_id, one.year): one.last - wanted[one.organisation_id, one.year] for one in taken}
    numbers = {}
    for one in certificates:
        following[one.sequence] += 1
        numbers[one.enrollment_id] = certificate_number(one.sequence[1], following[one.sequence])
    recorded = [_row(one, numbers[one.enrollment_id]) for one in certificates]
    session.execute(INSERT_CERTIFICATES, _CERTIFICATES.parameters(recorded))
    _tell_issued(session, certificates, numbers)
    return {one.enrollment_id: IssuedCertificate(one.id, one.number) for one in recorded}


def _tell_issued(session: Session, certificates: Sequence[NewCertificate], numbers: Mapping[UUID, str]) -> None:
    """Owes to the portals which certificates were issued, and which take the place of another."""
    news = (_news(one, numbers[one.enrollment_id]) for one in certificates)
    types = (WebhookEvent.CERTIFICATE_ISSUED, WebhookEvent.CERTIFICATE_REPLACED)
    tell_of_enrollments(session, {one.portal_id for one in certificates}, types, news)


def _news(one: NewCertificate, number: str) -> EnrollmentNews:
    detail = {"certificate_id": str(one.certificate_id), "number": number, "version": one.version}
    if one.replaces is None:
        return EnrollmentNews(WebhookEvent.CERTIFICATE_ISSUED, one.enrollment_id, detail)
    return EnrollmentNews(WebhookEvent.CERTIFICATE_REPLACED, one.enrollment_id, detail | {"replaces": one.replaces})


def _row(one: NewCertificate, number: str) -> _CertificateRow:
    return _CertificateRow(
        one.certificate_id,
        one.enrollment_id,
        one.version,
        one.organisation_id,
        number,
        one.code,
        one.snapshot.model_dump(mode="json", exclude_defaults=True),
        names_kept_until(one.completed_at),
    )


def catch_up(
    session: Session, portal_id: UUID, job_id: UUID, _: CatchUpCertificates
) -> tuple[JobState, dict[str, Any]]:
    """Does one part of a `catch_up_certificates` job; after a full part the job owes the next."""
    missing = fetch_values(session, UUID, FIND_NOT_ISSUED, {"size": CATCH_UP})
    issued = issue(session, hold_enrollments(session, missing)) if missing else {}
    counts = Counter(Code.ISSUED if isinstance(one, IssuedCertificate) else one for one in issued.values())
    more = len(missing) == CATCH_UP and counts[Code.ISSUED] > 0
    if more:
        owe_successor(session, job_id, CatchUpCertificates(), portal_id=portal_id)
    return JobState.SUCCEEDED, {"counts": counts, "more": more}
