"""What became of each row of an imported file: the file read again beside the results of its job."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.words import DONE_CODES, Code
from workers.database import Session
from workers.imports.files import open_file
from workers.rosters.errors_file import FailedRow, write_errors
from workers.rosters.reader import RosterReading, RosterRow, read_rows, survey
from workers.rosters.refused import RosterRefused

READ_IMPORT = text("""
    SELECT r.portal_id, encode(r.sha256, 'hex') AS sha256, r.reading, f.size
    FROM roster r JOIN roster_file f ON f.portal_id = r.portal_id AND f.sha256 = r.sha256 WHERE r.job_id = :job""")

# In the order of the file, a part at a time: a million results are never held at once.
READ_RESULTS = text("""
    SELECT position, code FROM job_person WHERE job_id = :job AND position >= :first ORDER BY position LIMIT :size""")

RESULTS: Final = 5_000

LARGEST: Final = {"text": 50_000_000, "xlsx": 5_000_000, "ods": 5_000_000}
"""Bytes of a file of which a mail may speak: a workbook is unpacked, and held as a whole by its reader."""


class ImportedRow(NamedTuple):
    """A row of the file and what became of it; None while its turn has not come."""

    row: RosterRow
    code: Code | None


def report_rows(session: Session, job_id: UUID) -> Iterator[ImportedRow]:
    """Every row of the file, in order, blank ones left out."""
    found = _open(session, job_id)
    if found is None:
        return
    file, reading = found
    with file:
        codes = _codes(session, job_id)
        known = next(codes, None)
        for position, row in enumerate(read_rows(file, reading)):
            code = None
            if known is not None and known[0] == position:
                code, known = known[1], next(codes, None)
            yield ImportedRow(row, code)


def errors_file(session: Session, job_id: UUID, locale: str, sentence: Callable[[Code, str], str]) -> Iterator[str]:
    """The rows that were refused, as a file to correct and to drop again; nothing when the file is kept no longer.

    Parameters:
      sentence: what people read for a code in a language.
    """
    found = _open(session, job_id)
    if found is None:
        return
    file, reading = found
    file.close()
    failed = (
        FailedRow(one.row.line, one.row.cells, one.code, sentence(one.code, locale))
        for one in report_rows(session, job_id)
        if one.code is not None and one.code not in DONE_CODES
    )
    yield from write_errors(reading.header, failed, delimiter=reading.delimiter or ";", locale=locale)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows of an imported file, by where they stand in it.

    Parameters:
      understood: what its import has kept of how it is read.
      positions: from 0, blank rows left out; in order.
    """

    portal_id: UUID
    sha256: str
    understood: Mapping[str, Any]
    positions: Sequence[int]


def find_rows(session: Session, job_id: UUID, positions: Sequence[int]) -> StoredRows | None:
    """Where rows of an import are to be read again, by whoever has seconds for it.

    None when the file is kept no longer, was refused as a whole, or is one that takes longer (``LARGEST``).
    """
    found = session.execute(READ_IMPORT, {"job": job_id}).one_or_none()
    if found is None or found.reading is None or found.size > LARGEST[found.reading["kind"]]:
        return None
    return StoredRows(found.portal_id, found.sha256, found.reading, positions)


def _open(session: Session, job_id: UUID) -> tuple[BinaryIO, RosterReading] | None:
    found = session.execute(READ_IMPORT, {"job": job_id}).one_or_none()
    file = None if found is None else open_file(session, found.portal_id, found.sha256)
    if file is None:
        return None
    try:
        return file, survey(file)
    except RosterRefused:  # refused as a whole: there is nothing to say of its rows
        file.close()
        return None


def _codes(session: Session, job_id: UUID) -> Iterator[tuple[int, Code]]:
    first = 0
    while rows := session.execute(READ_RESULTS, {"job": job_id, "first": first, "size": RESULTS}).all():
        yield from ((position, Code(code)) for position, code in rows)
        first = rows[-1].position + 1
