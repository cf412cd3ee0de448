"""Reads the data a manager typed about a participant, while the request or the file is still kept."""

import json
from collections.abc import Collection
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.address import normalise_email
from models.words import LOCALES, Code
from workers.database import Session, array
from workers.imports.reports import StoredRows, find_rows
from workers.requests.imports import ImportRoster
from workers.sql import fetch, fetch_one

# Reads the request that enrolled a person, and their place in it. As text: see ``read_enrolling_request``.
READ_REQUEST = text("""
    SELECT CAST(j.request AS text) AS request, (
      SELECT min(p.position) FROM job_person p WHERE p.job_id = j.id AND p.enrollment_id = e.id) AS position
    FROM enrollment e JOIN job j ON j.id = e.job_id WHERE e.id = :id""")

# Finds the job that enrolled a person from a file, and the row of the file.
FIND_FILE_ROW = text("""
    SELECT j.id AS job_id, p.position FROM enrollment e JOIN job j ON j.id = e.job_id AND j.kind = :kind
    JOIN job_person p ON p.job_id = j.id AND p.enrollment_id = e.id
    WHERE e.id = :id ORDER BY p.position LIMIT 1""")

# Reads the requests of several enrollments, with the place of each person in their request.
READ_REQUESTS = text("""
    SELECT e.id AS enrollment_id, CAST(j.request AS text) AS request, min(p.position) AS position
    FROM enrollment e JOIN job j ON j.id = e.job_id
    LEFT JOIN job_person p ON p.job_id = j.id AND p.enrollment_id = e.id
    WHERE e.id = ANY(CAST(:ids AS uuid[])) GROUP BY e.id, j.id""")


class StoredPerson(NamedTuple):
    """The request that enrolled a person, and their place in it.

    Parameters:
      request: the JSON text as it is kept, or None.
      position: the 0-based place; None when the request has only one person.
    """

    request: str | None
    position: int | None


class FileRow(NamedTuple):
    """The import that enrolled a person, and their row in its file."""

    job_id: UUID
    position: int


class StoredEnrollment(NamedTuple):
    """An enrollment, with its request and its place in it (``StoredPerson``)."""

    enrollment_id: UUID
    request: str | None
    position: int | None


class EnrollingRequest(NamedTuple):
    """The request behind an enrollment.

    Parameters:
      report_to: the address its confirmation went to, or None.
      first_name, last_name: the names the manager typed; empty when they are no longer kept, or are in a file
        (``find_enrolling_row``).
    """

    report_to: str | None = None
    report_locale: str = LOCALES[0]
    first_name: str = ""
    last_name: str = ""


def read_enrolling_request(session: Session, enrollment_id: UUID) -> EnrollingRequest:
    """Reads the request that enrolled a person, in Python: PostgreSQL refuses the whole text for one U+0000 in a name.

    A request for 200,000 people takes half a second to read: the caller must hold no lock meanwhile.
    """
    row = fetch_one(session, StoredPerson, READ_REQUEST, {"id": enrollment_id})
    request = json.loads(row.request) if row is not None and row.request else None
    if row is None or not isinstance(request, dict):
        return EnrollingRequest()
    person = _person(request, row.position)
    address = normalise_email(_text(request, "report_to"))
    locale = _text(request, "report_locale")
    return EnrollingRequest(
        None if isinstance(address, Code) else address,
        locale if locale in LOCALES else LOCALES[0],
        _text(person, "first_name"),
        _text(person, "last_name"),
    )


def find_enrolling_row(session: Session, enrollment_id: UUID) -> StoredRows | None:
    """Finds the row of the file that enrolled a person; None when no file did, or the file is no longer kept."""
    row = fetch_one(session, FileRow, FIND_FILE_ROW, {"id": enrollment_id, "kind": ImportRoster.kind})
    return None if row is None else find_rows(session, row.job_id, [row.position])


def read_typed_names(session: Session, enrollments: Collection[UUID]) -> dict[UUID, tuple[str, str]]:
    """Reads the names managers typed for the people of these enrollments (at most a hundred); empty if unknown."""
    if not enrollments:
        return {}
    found = {}
    requests: dict[str | None, Any] = {}
    for row in fetch(session, StoredEnrollment, READ_REQUESTS, {"ids": array(enrollments)}):
        if row.request not in requests:
            requests[row.request] = json.loads(row.request) if row.request else {}
        person = _person(requests[row.request], row.position)
        found[row.enrollment_id] = (_text(person, "first_name"), _text(person, "last_name"))
    return found


def _person(request: dict[str, Any], position: int | None) -> dict[str, Any]:
    """Returns a row of the request, by its position; a request for one person has no position, and one row."""
    people = request.get("people")
    if not isinstance(people, list) or (position is None and len(people) != 1):
        return {}
    found = people[position or 0] if (position or 0) < len(people) else None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
