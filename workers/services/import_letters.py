"""The mail to whoever dropped a file: what became of it, and the rows to be corrected."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.words import DONE_CODES, EmailKind, JobState
from workers.database import Session
from workers.ledger import Claimed
from workers.roster_requests import ImportRoster
from workers.rosters.columns import Column, Header
from workers.services.letter import Letter, names, not_wanted
from workers.services.roster_reports import report_rows
from workers.shapes import read

MOST_CHARACTERS: Final = 20_000_000
"""Of the refused rows: zipped that is under the five megabytes a mail may carry. More are not sent."""

READ = text("""
    SELECT j.state, j.result, CAST(j.request AS text) AS request, r.file_name, r.reading
    FROM job j JOIN roster r ON r.job_id = j.id WHERE j.id = :job""")


def write_import_report(session: Session, row: Claimed, fact: Any) -> Letter:
    """Also of a file that could not be read, and of an unknown contract: then both names are None."""
    job_id = row.columns["job_id"]
    found = session.execute(READ, {"job": job_id}).one_or_none()
    if found is None or found.request is None:
        return not_wanted(row)
    result, reading = found.result or {}, found.reading or {}
    counts = result.get("counts", {})
    failed_count = sum(number for code, number in counts.items() if code not in DONE_CODES)
    context = {
        "job_id": str(job_id),
        "state": found.state,
        "file_code": result.get("code") if result.get("field") == "file" else None,
        "file_name": found.file_name,
        "encoding": reading.get("encoding"),
        "delimiter": reading.get("delimiter"),
        "sheet": reading.get("sheet"),
        "contract_reference": read(ImportRoster, found.request).contract,
        "planned_seats": result.get("planned_seats"),
        "enrolled_count": result.get("enrolled_count"),
        "remaining": result.get("remaining"),
        "counts": counts,
        "failed_count": failed_count,
    }
    attached = _failed(session, job_id, found.state) if failed_count else None
    header = _header(reading) if attached else None
    return Letter(row, EmailKind.IMPORT_REPORT, names(fact) | context | {"failed": attached, "header": header})


def _failed(session: Session, job_id: UUID, state: str) -> list[tuple[int, Any, Any]] | None:
    """The refused rows: line, cells, code; None when they are too many, or the file is kept no longer."""
    if state == JobState.DEAD:
        return None
    failed, characters = [], 0
    for one in report_rows(session, job_id):
        if one.code is not None and one.code not in DONE_CODES:
            characters += sum(map(len, one.row.cells))
            if characters > MOST_CHARACTERS:
                return None
            failed.append((one.row.line, one.row.cells, one.code))
    return failed or None


def _header(reading: dict[str, Any]) -> Header:
    columns = {name: Column(one["column"], one["header"]) for name, one in reading["header"].items()}
    ignored = tuple(Column(one["column"], one["header"]) for one in reading["ignored_columns"])
    return Header(reading["header_line"], columns, ignored)
