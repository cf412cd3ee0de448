"""The mail to whoever dropped a file: what became of it, and the rows to be corrected."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.words import DONE_CODES, Code, EmailKind, JobState
from workers.database import Session
from workers.ledger import Claimed
from workers.roster_requests import ImportRoster
from workers.rosters.kept_rows import KeptRows
from workers.services.letter import Letter, names, not_wanted
from workers.services.roster_reports import find_rows
from workers.shapes import read

MOST_FAILED: Final = 300_000
"""Refused rows a mail may still be able to carry (``workers/mail/renderer.py``)."""

READ = text("""
    SELECT j.state, j.result, CAST(j.request AS text) AS request, r.file_name, r.reading
    FROM job j JOIN roster r ON r.job_id = j.id WHERE j.id = :job""")

READ_FAILED = text("""
    SELECT position, code FROM job_person WHERE job_id = :job AND code <> ALL(CAST(:done AS text[])) ORDER BY position
    """)


@dataclass(frozen=True, slots=True)
class FailedRows:
    """The refused rows of a file, read while the mail is rendered. Each is line, cells and code."""

    kept: KeptRows
    codes: Sequence[Code]

    def __iter__(self) -> Iterator[tuple[int, Sequence[str], Code]]:
        """Raises: RosterRefused when they cannot be read in the time a mail has."""
        for (_, row), code in zip(self.kept, self.codes, strict=False):
            yield row.line, row.cells, code


def write_import_report(session: Session, row: Claimed, fact: Any) -> Letter:
    """Also of a file that could not be read, and of an unknown contract: then both names are None."""
    job_id = row.columns["job_id"]
    found = session.execute(READ, {"job": job_id}).one_or_none()
    if found is None or found.request is None:
        return not_wanted(row)
    result, reading = found.result or {}, found.reading or {}
    counts = result.get("counts", {})
    failed_count = sum(number for code, number in counts.items() if code not in DONE_CODES)
    unread = result.get("field") == "file"
    context = {
        "job_id": str(job_id),
        "state": found.state,
        "file_code": result.get("code") if unread else None,
        "again": result.get("code") is not None and not unread,
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
    wanted = 0 < failed_count <= MOST_FAILED and not context["again"] and found.state != JobState.DEAD
    failed = _failed(session, job_id) if wanted else None
    header = failed.kept.reading.header if failed else None
    return Letter(row, EmailKind.IMPORT_REPORT, names(fact) | context | {"failed": failed, "header": header})


def _failed(session: Session, job_id: UUID) -> FailedRows | None:
    """The refused rows; None when the file is kept no longer, or is too large to be read for a mail."""
    found = session.execute(READ_FAILED, {"job": job_id, "done": [code.value for code in DONE_CODES]}).all()
    kept = find_rows(session, job_id, [position for position, _ in found])
    return None if kept is None else FailedRows(kept, [Code(code) for _, code in found])
