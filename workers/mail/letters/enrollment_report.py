"""The mail to a manager that tells what happened to each person of a request."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.words import Code, EmailKind
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.errors import Permanent
from workers.mail.letters.letter import Letter, names, not_wanted
from workers.people.typed_rows import ERASED_ROW
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.requests.registry import parse

READ_JOB = text("SELECT kind, CAST(request AS text) AS request, state, result FROM job WHERE id = :id")

ERASED: Final = PersonToEnroll(**ERASED_ROW)

READ_CODES = text("SELECT position, code FROM job_person WHERE job_id = :id ORDER BY position")


def write_enrollment_report(session: Session, row: ClaimedRow, fact: Any) -> Letter:
    """Also of a request on an unknown contract: then both names are None. None of a request that is no longer kept."""
    job = session.execute(READ_JOB, {"id": row.columns["job_id"]}).one_or_none()
    if job is None or job.request is None:
        return not_wanted(row)
    return Letter(row, EmailKind.ENROLLMENT_REPORT, names(fact) | _report(session, row.columns["job_id"], job))


def _report(session: Session, job_id: UUID, job: Any) -> dict[str, Any]:
    """What happened to each person of a job, with the names and addresses the manager gave, not those of accounts.

    Whoever was erased since (``workers/people/erasure.py``) is counted, and no longer listed.
    """
    request = parse(job.kind, job.request)
    if not isinstance(request, Enroll):
        raise Permanent("a report of a job that enrols nobody")
    result = job.result or {}
    codes = {person["position"]: person["code"] for person in result.get("people", ())}
    codes |= {row.position: row.code for row in session.execute(READ_CODES, {"id": job_id})}
    return {
        "job_id": str(job_id),
        "state": job.state,
        "contract_reference": request.contract,
        "planned_seats": result.get("planned_seats", 0),
        "enrolled_count": result.get("enrolled_count", 0),
        "remaining": result.get("remaining", 0),
        "counts": Counter(codes.values()),
        "people": [
            _reported(index, person, codes)
            for index, person in enumerate(request.people)
            if person != ERASED or codes.get(index) == Code.MISSING_EMAIL
        ],
    }


def _reported(index: int, person: PersonToEnroll, codes: Mapping[int, str]) -> dict[str, Any]:
    return {
        "position": index + 1,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "code": codes.get(index, Code.NOT_CARRIED_OUT),
    }


WRITERS: Final = {
    EmailKind.ENROLLMENT_REPORT: write_enrollment_report,
}
