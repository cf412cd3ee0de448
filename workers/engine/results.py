"""Stores and reads the results of a job for each person."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.words import HINT_CODES, Code, hints_of
from workers.database import Session, array, text_array
from workers.sql import fetch, fetch_values

# Records what was done for each person of the jobs.
INSERT_PEOPLE = text("""
    INSERT INTO job_person (job_id, position, code, field, account_id, enrollment_id, detail)
    SELECT job_id, position, code, field, account_id, enrollment_id, CAST(detail AS json)
    FROM unnest(CAST(:jobs AS uuid[]), CAST(:positions AS int[]), CAST(:codes AS text[]), CAST(:fields AS text[]),
      CAST(:accounts AS uuid[]), CAST(:enrollments AS uuid[]), CAST(:details AS text[]))
      t (job_id, position, code, field, account_id, enrollment_id, detail)""")


class _CodeCount(NamedTuple):
    code: str
    people: int


COUNT_CODES = text("SELECT code, count(*) AS people FROM job_person WHERE job_id = :job GROUP BY code")

# Reads the people of a job for whom there is something to check, beside their result.
READ_HINTS = text("""
    SELECT p.position, p.detail FROM job_person p
    WHERE p.job_id = :job AND EXISTS (
      SELECT 1 FROM json_object_keys(p.detail) given WHERE given = ANY(CAST(:hints AS text[])))
    ORDER BY p.position""")


class HintedPerson(NamedTuple):
    """A person of a job for whom there is something to check; `detail` holds the codes of ``HINT_CODES`` as keys."""

    position: int
    detail: dict[str, Any]


# Reads the positions of the people of a job with one of these codes.
READ_POSITIONS = text("SELECT position FROM job_person WHERE job_id = :job AND code = ANY(CAST(:codes AS text[]))")


class PersonResult(NamedTuple):
    """The result of one person of a request.

    Parameters:
      position: their 0-based place in it.
      detail: the facts that explain the code, as JSON.
    """

    position: int
    code: Code
    field: str | None
    account_id: UUID | None
    enrollment_id: UUID | None
    detail: Mapping[str, Any] | None = None


def person_json(person: PersonResult) -> dict[str, Any]:
    """Returns a person's result in the form that jobs show."""
    return {
        "position": person.position,
        "code": person.code,
        "field": person.field,
        "account_id": str(person.account_id) if person.account_id else None,
        "enrollment_id": str(person.enrollment_id) if person.enrollment_id else None,
        "detail": person.detail,
    }


def one_or_none(people: Sequence[PersonResult]) -> dict[str, Any]:
    """Returns the part of a job's own result about its people: the person of a request for one, else nothing."""
    return {"people": [person_json(people[0])]} if len(people) == 1 else {}


def record_people(session: Session, jobs: Sequence[tuple[UUID, Sequence[PersonResult]]]) -> None:
    """Stores the results of jobs of several people; the result of a single person is in the job itself."""
    people = [(job_id, person) for job_id, found in jobs if len(found) > 1 for person in found]
    insert_people(session, people)


def insert_people(session: Session, people: Sequence[tuple[UUID, PersonResult]]) -> None:
    """Stores results, each with its job."""
    if not people:
        return
    jobs, results = zip(*people, strict=True)
    positions, codes, fields, accounts, enrollments, details = zip(*results, strict=True)
    columns = {
        "jobs": array(jobs),
        "positions": array(positions),
        "codes": text_array(codes),
        "fields": text_array(fields),
        "accounts": array(accounts),
        "enrollments": array(enrollments),
        "details": text_array([json.dumps(detail) if detail else None for detail in details]),
    }
    session.execute(INSERT_PEOPLE, columns)


def count_codes(session: Session, job_id: UUID) -> Counter[Code]:
    """Counts the people of a job by code."""
    counts = fetch(session, _CodeCount, COUNT_CODES, {"job": job_id})
    return Counter({Code(row.code): row.people for row in counts})


def count_hints(details: Iterable[Mapping[str, Any] | None]) -> dict[str, dict[Code, int]]:
    """Returns the part of a job's own result that counts what is to be checked; nothing when there is nothing."""
    codes = [code for detail in details if detail for code in hints_of(detail)]
    return {"hints": dict(Counter(codes))} if codes else {}


def read_hints(session: Session, job_id: UUID) -> list[HintedPerson]:
    """Reads the people of a job for whom there is something to check, in the order of the request."""
    return fetch(session, HintedPerson, READ_HINTS, {"job": job_id, "hints": sorted(HINT_CODES)})


def read_positions(session: Session, job_id: UUID, codes: Collection[Code]) -> set[int]:
    """Reads the positions of the people of a job who have one of these codes."""
    return set(fetch_values(session, int, READ_POSITIONS, {"job": job_id, "codes": [*codes]}))
