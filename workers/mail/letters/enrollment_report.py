"""Writes the mail to a manager that tells the result of each person of a request."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Text, cast
from sqlmodel import col

from models.job import Job, JobPerson
from models.words import Code, EmailKind
from workers.database import Session
from workers.errors import Permanent
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.facts import MailFacts
from workers.mail.letters.letter import Letter, names, not_wanted
from workers.people.typed_rows import ERASED_ROW
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.requests.registry import parse
from workers.sql import fetch, fetch_one, select_record

ERASED: Final = PersonToEnroll(**ERASED_ROW)


class _ReportedJob(NamedTuple):
    id: UUID
    kind: str
    request: str | None
    state: str
    result: Any


class _PersonAnswer(NamedTuple):
    position: int
    code: str
    detail: Any


_NOT_DONE: Final = _PersonAnswer(0, Code.NOT_CARRIED_OUT, None)


def write_enrollment_report(session: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes the report, unless the request is kept no longer. Of an unknown contract both names are None."""
    job = _read_job(session, mail.job_id)
    if job is None or job.request is None:
        return not_wanted(mail)
    report = _report(job, _read_request(job.kind, job.request), _read_answers(session, job))
    return Letter(mail, EmailKind.ENROLLMENT_REPORT, names(facts) | report)


def _read_job(session: Session, job_id: UUID | None) -> _ReportedJob | None:
    job = select_record(_ReportedJob, Job, request=cast(col(Job.request), Text))
    return fetch_one(session, _ReportedJob, job.where(col(Job.id) == job_id))


def _read_request(kind: str, body: str) -> Enroll:
    request = parse(kind, body)
    if not isinstance(request, Enroll):
        raise Permanent("a report of a job that enrols nobody")
    return request


def _read_answers(session: Session, job: _ReportedJob) -> dict[int, _PersonAnswer]:
    """Reads the answer for each position; the result of a request for one person sits in the job itself."""
    alone = (job.result or {}).get("people", ())
    people = select_record(_PersonAnswer, JobPerson).where(col(JobPerson.job_id) == job.id)
    found = fetch(session, _PersonAnswer, people.order_by(col(JobPerson.position)))
    answers = [*(_PersonAnswer(one["position"], one["code"], one.get("detail")) for one in alone), *found]
    return {one.position: one for one in answers}


def _report(job: _ReportedJob, request: Enroll, answers: Mapping[int, _PersonAnswer]) -> dict[str, Any]:
    """Lists the result of each person, under the name and address the manager gave, not those of the account.

    People who were erased since (``workers/people/erasure.py``) are counted, and no longer listed.
    """
    result = job.result or {}
    return {
        "job_id": str(job.id),
        "state": job.state,
        "contract_reference": request.contract,
        "planned_seats": result.get("planned_seats", 0),
        "enrolled_count": result.get("enrolled_count", 0),
        "remaining": result.get("remaining", 0),
        "counts": Counter(one.code for one in answers.values()),
        "people": [
            _reported(index, person, answers.get(index, _NOT_DONE))
            for index, person in enumerate(request.people)
            if person != ERASED or answers.get(index, _NOT_DONE).code == Code.MISSING_EMAIL
        ],
    }


def _reported(index: int, person: PersonToEnroll, answer: _PersonAnswer) -> dict[str, Any]:
    return {
        "position": index + 1,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
        "code": answer.code,
        "detail": answer.detail,
    }


WRITERS: Final = {EmailKind.ENROLLMENT_REPORT: write_enrollment_report}
