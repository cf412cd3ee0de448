"""Numbers and registers duplicates of certificates in one transaction; they are rendered after it.

Lock order: the job, accounts, enrollments, counters of organisations; contracts are only read. The lock of the
enrollment makes the ordinals of one certificate follow each other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text
from sqlmodel import select

from models.base import new_id
from models.certificate import CertificateDuplicate, duplicate_number, no_duplicate_because
from models.document import CertificateSnapshot
from models.job import JobPerson
from models.words import Code, Progress
from workers.audit import record
from workers.certificates.enrollments import CertifiableEnrollment, hold_enrollments
from workers.certificates.issuing import IssuedCertificate, issue
from workers.certificates.printing import find_unprintable
from workers.database import Session, array
from workers.engine.ledger import ClaimedRow
from workers.engine.results import PersonResult, insert_people
from workers.requests.certificates import DuplicateCertificates, DuplicateOwnCertificate
from workers.requests.registry import parse
from workers.sql import Unnest, fetch

DuplicateRequest = DuplicateCertificates | DuplicateOwnCertificate


class _CountedCertificate(NamedTuple):
    id: UUID
    number: str
    kept: bool
    revoked_at: datetime | None
    last: int


class _NewDuplicate(NamedTuple):
    id: UUID
    certificate_id: UUID
    ordinal: int
    number: str
    position: int


_DUPLICATES: Final = Unnest(_NewDuplicate, CertificateDuplicate, alias="given")

# Reads certificates with the ordinal of their last duplicate; this transaction has locked their enrollments, so that it
# stays the last one.
READ_ORDINALS = text("""
    SELECT k.id, k.number, k.snapshot IS NOT NULL AS kept, k.revoked_at,
      (SELECT coalesce(max(d.ordinal), 0) FROM certificate_duplicate d WHERE d.certificate_id = k.id) AS last
    FROM certificate k WHERE k.id = ANY(CAST(:certificates AS uuid[]))""")

# Registers duplicates; this transaction has locked their enrollments, so that the ordinals follow the last ones.
INSERT_DUPLICATES = text(f"""
    INSERT INTO certificate_duplicate ({_DUPLICATES.columns}, document, locale, job_id, portal_id, requested_by,
      issued_at)
    SELECT {_DUPLICATES.columns}, :document, :locale, :job, :portal, :asker, now() FROM {_DUPLICATES}""")


class _Answer(NamedTuple):
    person: PersonResult
    duplicate: _NewDuplicate | None = None


def read_duplicate_request(row: ClaimedRow) -> DuplicateRequest:
    return cast("DuplicateRequest", parse(row.columns.kind, row.columns.request))


def register(session: Session, row: ClaimedRow, request: DuplicateRequest) -> None:
    """Gives every person of the request their result, and registers the duplicates; once, whatever happens.

    A certificate that is still to be issued is issued here. A person ticked twice has one duplicate.

    Raises: a transient error of the database when an enrollment is held for over 250 ms.
    """
    if session.exec(select(JobPerson.position).where(JobPerson.job_id == row.id).limit(1)).first() is not None:
        return
    asked = request.enrollment_ids if isinstance(request, DuplicateCertificates) else [request.enrollment_id]
    found = hold_enrollments(session, list(dict.fromkeys(asked)))
    held = {enrollment_id: one for enrollment_id, one in found.items() if _may_ask(row, request, one)}
    answers = _answer(session, asked, held)
    _insert(session, row, request, [one.duplicate for one in answers if one.duplicate])
    people = [one.person for one in answers]
    insert_people(session, [(row.id, one) for one in people])
    _audit(session, row, request, people, held)


def _may_ask(row: ClaimedRow, request: DuplicateRequest, held: CertifiableEnrollment) -> bool:
    """Tells whether the asker may have it: the company by portal and contract, or the learner by their account."""
    if isinstance(request, DuplicateOwnCertificate) and held.account_id != request.account_id:
        return False
    if isinstance(request, DuplicateCertificates) and held.contract_reference != request.contract:
        return False
    return held.portal_id == row.columns.portal_id


def _answer(session: Session, asked: Sequence[UUID], held: Mapping[UUID, CertifiableEnrollment]) -> list[_Answer]:
    """Answers each row of the request, in its order."""
    completed = {one: enrollment for one, enrollment in held.items() if enrollment.progress == Progress.COMPLETED}
    issued = issue(session, completed)
    known = [one.certificate_id for one in issued.values() if isinstance(one, IssuedCertificate)]
    asked_of = {"certificates": array(known)}
    certificates = {one.id: one for one in fetch(session, _CountedCertificate, READ_ORDINALS, asked_of)}
    answers, answered = [], set()
    for position, enrollment_id in enumerate(asked):
        if enrollment_id in answered:
            repeated = PersonResult(position, Code.DUPLICATE_IN_FILE, "enrollment_ids", None, enrollment_id)
            answers.append(_Answer(repeated))
        elif (enrollment := held.get(enrollment_id)) is None:
            answers.append(_Answer(PersonResult(position, Code.NOT_FOUND, None, None, enrollment_id)))
        else:
            answers.append(_decide(position, enrollment, issued.get(enrollment_id), certificates))
        answered.add(enrollment_id)
    return answers


def _decide(
    position: int,
    held: CertifiableEnrollment,
    issued: IssuedCertificate | Code | None,
    certificates: Mapping[UUID, _CountedCertificate],
) -> _Answer:
    certificate = certificates[issued.certificate_id] if isinstance(issued, IssuedCertificate) else None
    refused = no_duplicate_because(
        Progress(held.progress),
        detached=held.detached_at is not None,
        revoked=certificate is not None and certificate.revoked_at is not None,
        kept=certificate is None or certificate.kept,
    )
    if refused is None:
        refused = issued if isinstance(issued, Code) else _unprintable(held)
    if certificate is None or refused is not None:
        code, detail = refused or Code.NOT_FOUND, {"progress": held.progress}
        return _Answer(PersonResult(position, code, None, held.account_id, held.id, detail))
    ordinal = certificate.last + 1
    new = _NewDuplicate(new_id(), certificate.id, ordinal, duplicate_number(certificate.number, ordinal), position)
    detail = {
        "certificate_id": str(certificate.id),
        "certificate": certificate.number,
        "duplicate_id": str(new.id),
        "number": new.number,
    }
    return _Answer(PersonResult(position, Code.DUPLICATED, None, held.account_id, held.id, detail), new)


def _unprintable(held: CertifiableEnrollment) -> Code | None:
    """Returns why a certificate of an earlier release cannot be printed; one that is issued now can be."""
    if held.snapshot is None:
        return None
    unprintable = find_unprintable(CertificateSnapshot.model_validate(held.snapshot))
    return None if unprintable is None else unprintable.code


def _insert(session: Session, row: ClaimedRow, request: DuplicateRequest, new: Sequence[_NewDuplicate]) -> None:
    if new:
        alike = {
            "document": request.document,
            "locale": request.locale,
            "job": row.id,
            "portal": row.columns.portal_id,
            "asker": request.requested_by,
        }
        session.execute(INSERT_DUPLICATES, _DUPLICATES.parameters(new) | alike)


def _audit(
    session: Session,
    row: ClaimedRow,
    request: DuplicateRequest,
    people: Sequence[PersonResult],
    held: Mapping[UUID, CertifiableEnrollment],
) -> None:
    companies = {one.company_id for one in held.values()}
    alone = people[0] if len(people) == 1 else None
    record(
        session,
        request.kind,
        portal_id=row.columns.portal_id,
        requested_by=request.requested_by,
        result="done" if any(one.code is Code.DUPLICATED for one in people) else "refused",
        company_id=companies.pop() if len(companies) == 1 else None,
        account_id=alone.account_id if alone else None,
        subject_id=alone.enrollment_id if alone else None,
        job_id=row.id,
        detail={"counts": Counter(one.code for one in people), "document": request.document},
    )
