"""The mail to whoever dropped a file: what became of it, and the rows to be corrected."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import text

from models.words import DONE_CODES, Code, EmailKind, JobState
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.imports.reports import find_rows
from workers.mail.letters.letter import Letter, names, not_wanted
from workers.requests.base import read
from workers.requests.imports import ImportRoster
from workers.rosters.kept_rows import KeptRows

MOST_FAILED: Final = 300_000
"""Refused rows a mail may still be able to carry (``workers/mail/renderer.py``)."""

READ_IMPORT = text("""
    SELECT j.state, j.result, CAST(j.request AS text) AS request, r.file_name, r.reading
    FROM job j JOIN roster r ON r.job_id = j.id WHERE j.id = :job""")

READ_FAILED = text("""
    SELECT position, code FROM job_person WHERE job_id = :job AND code <> ALL(CAST(:done AS text[])) ORDER BY position
    """)


@dataclass(frozen=True, slots=True)
class FailedRows:
    """The refused rows of a file, read while the mail is rendered: never all of them at once."""

    rows: KeptRows
    codes: Sequence[Code]

    def __iter__(self) -> Iterator[tuple[int, Sequence[str], Code]]:
        """Line, cells and code of each. Raises: RosterRefused (``KeptRows``)."""
        for row, code in zip(self.rows, self.codes, strict=True):
            yield row.line, row.cells, code


def write_import_report(session: Session, row: ClaimedRow, fact: Any) -> Letter:
    """Also of a file that could not be read, and of an unknown contract: then both names are None."""
    job_id = row.columns["job_id"]
    found = session.execute(READ_IMPORT, {"job": job_id}).one_or_none()
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
        "failed": None,
        "header": None,
    }
    wanted = 0 < failed_count <= MOST_FAILED and not context["again"] and found.state != JobState.DEAD
    failed = session.execute(READ_FAILED, {"job": job_id, "done": list(DONE_CODES)}).all() if wanted else []
    rows = find_rows(session, job_id, [one.position for one in failed]) if failed else None
    attach = partial(_attached, [Code(one.code) for one in failed])
    return Letter(row, EmailKind.IMPORT_REPORT, names(fact) | context, rows=rows, from_rows=attach)


def _attached(codes: Sequence[Code], rows: KeptRows) -> Mapping[str, Any]:
    return {"failed": FailedRows(rows, codes), "header": rows.reading.header}


WRITERS: Final = {
    EmailKind.IMPORT_REPORT: write_import_report,
}
