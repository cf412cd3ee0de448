"""Importing a roster file: the same enrollment as any other, chunk by chunk, with what a file needs besides.

A chunk's people, the addresses met, the position reached and the lease are committed together; whoever takes the job
up after a kill goes on there. Duplicates are found through rows, so that a million rows take no more memory than ten.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self, cast
from uuid import UUID

from sqlalchemy import text

from models.person import Person
from models.words import DONE_CODES, Code, EmailKind, JobState, Policy
from workers.database import Session
from workers.engine.chunks import Chunk
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, count_codes, insert_people
from workers.enrollment.enrolling import EnrollmentAnswer, EnrollmentOrder, enroll
from workers.enrollment.jobs import (
    CHUNK,
    summary,
)
from workers.imports.source import RosterSource
from workers.outbox.mails import OwedMail, owe
from workers.requests.base import fingerprint
from workers.requests.enrollment import MAX_PEOPLE
from workers.requests.imports import ImportRoster
from workers.requests.registry import parse
from workers.rosters.people import check_row
from workers.rosters.reader import RosterReading, RosterRow
from workers.security.throttles import address_subjects

# An import that came through the queue of portals has none yet.
INSERT_IMPORT = text("""
    INSERT INTO roster (job_id, portal_id, fingerprint, sha256, file_name)
    VALUES (:job, :portal, :fingerprint, :sha256, :name) ON CONFLICT DO NOTHING""")

RECORD_READING = text("""
    UPDATE roster SET reading = CAST(:reading AS json), rows = :rows WHERE job_id = :job AND rows IS NULL""")

CHECK_CANCELLED = text("SELECT cancelled_at IS NOT NULL FROM roster WHERE job_id = :job")

READ_ADDRESSES = text("""
    SELECT address FROM roster_address WHERE job_id = :job AND address = ANY(CAST(:addresses AS uuid[]))""")

ADD_ADDRESSES = text("""
    INSERT INTO roster_address (job_id, address) SELECT :job, unnest(CAST(:addresses AS uuid[]))
    ON CONFLICT DO NOTHING""")

FORGET_ADDRESSES = text("DELETE FROM roster_address WHERE job_id = :job")

FIND_CONTRACT = text("SELECT id, company_id FROM contract WHERE portal_id = :portal AND reference = :reference")

IN_PARTS: Final = Policy.UNTIL_FULL


@dataclass(frozen=True, slots=True)
class RunningImport:
    """An import on its way.

    Parameters:
      position: rows done; also kept in the job, moved in each chunk's transaction.
      planned: seats a dry run has planned so far, which nobody took.
    """

    row: ClaimedRow
    request: ImportRoster
    source: RosterSource
    position: int
    planned: int = 0

    @property
    def chunk(self) -> int:
        """How many rows the next transaction does: all of them where the policy allows no parts."""
        return CHUNK if self.request.policy is IN_PARTS else MAX_PEOPLE

    def read_ahead(self) -> Self:
        """Reads the next rows, so that the transaction that does them does not wait for the file."""
        self.source.chunk(self.position, self.chunk)
        return self


def read_import(row: ClaimedRow) -> ImportRoster:
    """The request of a claimed import."""
    return cast("ImportRoster", parse(row.columns["kind"], row.columns["request"]))


def refused_because(request: ImportRoster, reading: RosterReading) -> Code | None:
    """Why a file that can be read cannot be imported this way: what is done at once must not be too large."""
    return Code.TOO_LARGE if request.policy is not IN_PARTS and reading.rows > MAX_PEOPLE else None


def refuse(session: Session, row: ClaimedRow, code: Code, detail: str) -> WorkOutcome:
    """The end of an import whose file as a whole is refused."""
    request = read_import(row)
    record_import(session, row.id, row.columns["portal_id"], request)
    _owe_report(session, row, request)
    return WorkOutcome(row.id, row.claim, JobState.REFUSED, {"code": code, "field": "file", "detail": detail})


def record_import(session: Session, job_id: UUID, portal_id: UUID, request: ImportRoster) -> None:
    """Records what an import's job needs beside its request, once."""
    session.execute(
        INSERT_IMPORT,
        {
            "job": job_id,
            "portal": portal_id,
            "fingerprint": fingerprint(request),
            "sha256": bytes.fromhex(request.file),
            "name": request.file_name,
        },
    )


def resume(session: Session, row: ClaimedRow, request: ImportRoster, source: RosterSource) -> RunningImport:
    """Takes an import up where its last committed chunk left it, and records how its file was understood."""
    position = int(row.columns["position"])
    reading = source.reading
    record_import(session, row.id, row.columns["portal_id"], request)
    session.execute(RECORD_READING, {"job": row.id, "reading": json.dumps(reading_json(reading)), "rows": reading.rows})
    counts = count_codes(session, row.id) if position else Counter[Code]()
    planned = counts[Code.ENROLLED] + counts[Code.ATTACHED] if request.dry_run else 0
    return RunningImport(row, request, source, position, planned)


def import_chunk(session: Session, course: RunningImport) -> Chunk[RunningImport]:
    """Enrols the people of the next chunk; the outcome comes with the last, or when the import was cancelled."""
    row = course.row
    if session.execute(CHECK_CANCELLED, {"job": row.id}).scalar():
        return Chunk(course, course.position, _end(session, course, None, JobState.CANCELLED))
    found = course.source.chunk(course.position, course.chunk)
    people = [check_row(one) for one in found]
    answer = enroll(session, [_order(session, course, people)])[0]
    insert_people(session, [(row.id, _with_line(person, found, course.position)) for person in answer.people])
    _remember(session, row.id, people, answer)
    taken = sum(person.code in (Code.ENROLLED, Code.ATTACHED) for person in answer.people)
    further = replace(
        course,
        position=course.position + len(found),
        planned=course.planned + (taken if course.request.dry_run else 0),
    )
    if found and further.position < course.source.reading.rows:
        return Chunk(further, further.position)
    return Chunk(further, further.position, _end(session, further, answer, None))


def _order(session: Session, course: RunningImport, people: Sequence[Any]) -> EnrollmentOrder:
    request = course.request
    addresses = address_subjects({one.email_norm for one in people if isinstance(one, Person)})
    known = set(
        session.execute(READ_ADDRESSES, {"job": course.row.id, "addresses": list(addresses.values())}).scalars()
    )
    taken = {email for email, address in addresses.items() if address in known}
    return EnrollmentOrder(
        course.row.id,
        course.row.columns["portal_id"],
        request,
        people,
        course.position,
        taken,
        urgent=False,
        planned=course.planned,
    )


def _with_line(person: PersonResult, found: Sequence[RosterRow], first: int) -> PersonResult:
    """The result of a row with the line it stands on, and which of its values is to be corrected."""
    return person._replace(detail={"line": found[person.position - first].line})


def _remember(session: Session, job_id: UUID, people: Sequence[Any], answer: EnrollmentAnswer) -> None:
    first = answer.order.first_position
    accepted = {people[one.position - first].email_norm for one in answer.people if one.code in DONE_CODES}
    if accepted:
        addresses = list(address_subjects(accepted).values())
        session.execute(ADD_ADDRESSES, {"job": job_id, "addresses": addresses})


def _end(
    session: Session, course: RunningImport, answer: EnrollmentAnswer | None, state: JobState | None
) -> WorkOutcome:
    row, counts = course.row, count_codes(session, course.row.id)
    session.execute(FORGET_ADDRESSES, {"job": row.id})
    refused = not any(counts[code] for code in DONE_CODES)
    code = answer.code if answer is not None and refused else None
    contract = answer.contract if answer is not None else None
    result = summary(counts, contract, dry_run=course.request.dry_run, carried_out=code is None, code=code)
    result |= {"rows": course.source.reading.rows, "rows_done": course.position}
    ended = JobState.REFUSED if refused else JobState.SUCCEEDED
    _owe_report(session, row, course.request)
    return WorkOutcome(row.id, row.claim, state or ended, result)


def _owe_report(session: Session, row: ClaimedRow, request: ImportRoster) -> None:
    """The summary to whoever asked for it; none of a dry run, which changed nothing."""
    if request.report_to is None or request.dry_run:
        return
    portal_id: UUID = row.columns["portal_id"]
    whose = session.execute(FIND_CONTRACT, {"portal": portal_id, "reference": request.contract}).one_or_none()
    company_id, contract_id = (whose.company_id, whose.id) if whose else (portal_id, None)
    mail = OwedMail(
        EmailKind.IMPORT_REPORT,
        str(row.id),
        company_id,
        request.report_to,
        request.report_locale,
        job_id=row.id,
        contract_id=contract_id,
    )
    owe(session, [mail])


def reading_json(reading: RosterReading) -> dict[str, Any]:
    """What was understood of a file, as reports and jobs show it."""
    header = reading.header
    return {
        "kind": reading.kind,
        "encoding": reading.encoding,
        "delimiter": reading.delimiter,
        "sheet": reading.sheet,
        "header_line": header.line,
        "header": {name: {"column": one.number, "header": one.header} for name, one in header.columns.items()},
        "ignored_columns": [{"column": one.number, "header": one.header} for one in header.ignored],
        "rows": reading.rows,
    }
