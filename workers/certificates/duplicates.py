"""Duplicates of certificates: numbered and registered in one transaction, rendered after it.

Lock order: the job, contracts are only read, accounts, enrollments, counters of organisations. The enrollment's lock
makes the ordinals of one certificate follow each other.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.certificate import duplicate_number, no_duplicate_because
from models.words import Code, Progress
from workers.audit import record
from workers.certificates.issuing import IssuedCertificate, hold, issue
from workers.database import Session, array
from workers.engine.ledger import ClaimedRow
from workers.engine.results import PersonResult, insert_people
from workers.requests.certificates import DuplicateCertificates, DuplicateOwnCertificate
from workers.requests.registry import parse

DuplicateRequest = DuplicateCertificates | DuplicateOwnCertificate

CHECK_BEGUN = text("SELECT EXISTS (SELECT 1 FROM job_person WHERE job_id = :job)")

# The lock of each enrollment is held: nobody else counts at this moment.
READ_ORDINALS = text("""
    SELECT k.id, k.number, k.snapshot IS NOT NULL AS kept, k.revoked_at,
      (SELECT coalesce(max(d.ordinal), 0) FROM certificate_duplicate d WHERE d.certificate_id = k.id) AS last
    FROM certificate k WHERE k.id = ANY(CAST(:certificates AS uuid[]))""")

INSERT_DUPLICATES = text("""
    INSERT INTO certificate_duplicate (id, certificate_id, ordinal, number, document, locale, job_id, position,
      portal_id, requested_by, issued_at)
    SELECT id, certificate_id, ordinal, number, :document, :locale, :job, position, :portal, :asker, now()
    FROM json_to_recordset(CAST(:duplicates AS json)) t (id uuid, certificate_id uuid, ordinal int, number text,
      position int)""")


class _RowPosition(NamedTuple):
    position: int
    enrollment_id: UUID


def read_duplicate_request(row: ClaimedRow) -> DuplicateRequest:
    """What a claimed job asks."""
    return cast("DuplicateRequest", parse(row.columns["kind"], row.columns["request"]))


def register(session: Session, row: ClaimedRow, request: DuplicateRequest) -> None:
    """Gives every person of the request their result, and registers the duplicates; once, whatever happens.

    A certificate that is still to be issued is issued here. Somebody ticked twice has one duplicate.

    Raises: a transient error of the database when an enrollment is held for over 250 ms.
    """
    if session.execute(CHECK_BEGUN, {"job": row.id}).scalar():
        return
    asked = request.enrollment_ids if isinstance(request, DuplicateCertificates) else [request.enrollment_id]
    places = {
        enrollment: _RowPosition(position, enrollment) for position, enrollment in reversed(list(enumerate(asked)))
    }
    held = {one: fact for one, fact in hold(session, list(places)).items() if _may_ask(row, request, fact)}
    issued = issue(session, {one: fact for one, fact in held.items() if _completed(fact)})
    known = [one.certificate_id for one in issued.values() if isinstance(one, IssuedCertificate)]
    certificates = {one.id: one for one in session.execute(READ_ORDINALS, {"certificates": array(known)})}
    results = []
    for position, enrollment in enumerate(asked):
        first = places[enrollment]
        if first.position != position:
            results.append(PersonResult(position, Code.DUPLICATE_IN_FILE, "enrollment_ids", None, enrollment))
        else:
            results.append(_result(first, held.get(enrollment), issued, certificates))
    _insert(session, row, request, results)
    insert_people(session, [(row.id, one) for one in results])
    _audit(session, row, request, results, held)


def _may_ask(row: ClaimedRow, request: DuplicateRequest, fact: Any) -> bool:
    """The company that paid, through its portal and contract; or the learner, whom the portal has signed in."""
    if isinstance(request, DuplicateOwnCertificate) and fact.account_id != request.account_id:
        return False
    if isinstance(request, DuplicateCertificates) and fact.contract_reference != request.contract:
        return False
    return bool(fact.portal_id == row.columns["portal_id"])


def _completed(fact: Any) -> bool:
    return bool(fact.progress == Progress.COMPLETED)


def _result(
    place: _RowPosition,
    fact: Any | None,
    issued: Mapping[UUID, IssuedCertificate | Code],
    certificates: Mapping[UUID, Any],
) -> PersonResult:
    if fact is None:
        return PersonResult(place.position, Code.NOT_FOUND, None, None, place.enrollment_id)
    certificate = issued.get(fact.id)
    known = certificates[certificate.certificate_id] if isinstance(certificate, IssuedCertificate) else None
    refused = no_duplicate_because(
        Progress(fact.progress),
        detached=fact.detached_at is not None,
        revoked=known is not None and known.revoked_at is not None,
        kept=known is None or known.kept,
    )
    if known is None and refused is None:
        refused = cast("Code", certificate)
    if known is None or refused is not None:
        return PersonResult(
            place.position, refused or Code.NOT_FOUND, None, fact.account_id, fact.id, {"progress": fact.progress}
        )
    detail = {
        "certificate_id": str(known.id),
        "certificate": known.number,
        "duplicate_id": str(new_id()),
        "number": duplicate_number(known.number, known.last + 1),
    }
    return PersonResult(place.position, Code.DUPLICATED, None, fact.account_id, fact.id, detail)


def _insert(session: Session, row: ClaimedRow, request: DuplicateRequest, results: Sequence[PersonResult]) -> None:
    duplicates = [
        {
            "id": one.detail["duplicate_id"],
            "certificate_id": one.detail["certificate_id"],
            "ordinal": int(one.detail["number"].rpartition("-D")[2]),
            "number": one.detail["number"],
            "position": one.position,
        }
        for one in results
        if one.code is Code.DUPLICATED and one.detail
    ]
    if duplicates:
        session.execute(
            INSERT_DUPLICATES,
            {
                "duplicates": json.dumps(duplicates),
                "document": request.document,
                "locale": request.locale,
                "job": row.id,
                "portal": row.columns["portal_id"],
                "asker": request.requested_by,
            },
        )


def _audit(
    session: Session,
    row: ClaimedRow,
    request: DuplicateRequest,
    results: Sequence[PersonResult],
    held: Mapping[UUID, Any],
) -> None:
    companies = {fact.company_id for fact in held.values()}
    alone = results[0] if len(results) == 1 else None
    record(
        session,
        request.kind,
        portal_id=row.columns["portal_id"],
        requested_by=request.requested_by,
        result="done" if any(one.code is Code.DUPLICATED for one in results) else "refused",
        company_id=companies.pop() if len(companies) == 1 else None,
        account_id=alone.account_id if alone else None,
        subject_id=alone.enrollment_id if alone else None,
        job_id=row.id,
        detail={"counts": Counter(one.code for one in results), "document": request.document},
    )
