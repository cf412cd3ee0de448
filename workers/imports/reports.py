"""Reports the result of each row of an imported file: reads the file again beside the results of its job."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, NamedTuple
from uuid import UUID

from sqlmodel import col

from models.job import JobPerson
from models.roster import RosterFile, RosterImport
from models.words import DONE_CODES, Code
from workers.database import Session
from workers.i18n.results import every_code, explain_result
from workers.imports.files import open_file
from workers.rosters.errors_file import FailedRow, column_names, write_errors
from workers.rosters.kept_rows import recall
from workers.rosters.reader import RosterReading, RosterRow, read_rows
from workers.rosters.refused import RosterRefused
from workers.sql import fetch, fetch_one, select_record

RESULTS: Final = 5_000
"""Results read at once: a million of them are never held together."""

LARGEST: Final = {"text": 50_000_000, "xlsx": 5_000_000, "ods": 5_000_000}
"""The most bytes of a file from which a mail quotes rows: the reader of a workbook holds all of it unpacked."""


class _KeptImport(NamedTuple):
    portal_id: UUID
    sha256: bytes
    reading: Any
    size: int


class _ResultRow(NamedTuple):
    position: int
    code: str
    detail: Any


class ImportedRow(NamedTuple):
    """A row of the file and its result; None while its turn has not come.

    Parameters:
      hints: what is to be checked, beside the result.
    """

    row: RosterRow
    code: Code | None
    detail: Mapping[str, Any] | None = None


def report_rows(session: Session, job_id: UUID) -> Iterator[ImportedRow]:
    """Yields every row of the file in order, without blank ones."""
    found = _open(session, job_id)
    if found is None:
        return
    file, reading = found
    with file:
        results = _results(session, job_id)
        known = next(results, None)
        for position, row in enumerate(read_rows(file, reading)):
            if known is not None and known.position == position:
                yield ImportedRow(row, Code(known.code), known.detail)
                known = next(results, None)
            else:
                yield ImportedRow(row, None)


def errors_file(session: Session, job_id: UUID, locale: str) -> Iterator[str]:
    """Yields the file of refused rows, to correct and drop again; nothing when the file is kept no longer."""
    found = _open(session, job_id)
    if found is None:
        return
    file, reading = found
    file.close()
    columns = column_names(reading.header)
    failed = (
        FailedRow(
            one.row.line,
            one.row.cells,
            every_code(one.code, one.detail),
            explain_result(one.code, one.detail, locale, columns),
        )
        for one in report_rows(session, job_id)
        if one.code is not None and one.code not in DONE_CODES
    )
    yield from write_errors(reading.header, failed, delimiter=reading.delimiter or ";", locale=locale)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows of an imported file by their positions.

    Parameters:
      understood: how the file is read, as its import has kept it.
      positions: the positions of the rows from 0, without blank ones, in order.
      size: the bytes of the file.
    """

    portal_id: UUID
    sha256: str
    understood: Mapping[str, Any]
    positions: Sequence[int]
    size: int


def find_rows(session: Session, job_id: UUID, positions: Sequence[int]) -> StoredRows | None:
    """Finds rows of an import, to be read again outside this transaction, because that takes seconds.

    None when the file is kept no longer, was refused as a whole, or is too large (``LARGEST``).
    """
    found = _find_import(session, job_id)
    if found is None or found.reading is None or found.size > LARGEST[found.reading["kind"]]:
        return None
    return StoredRows(found.portal_id, found.sha256.hex(), found.reading, positions, found.size)


def _find_import(session: Session, job_id: UUID) -> _KeptImport | None:
    kept = (col(RosterFile.portal_id) == col(RosterImport.portal_id)) & (
        col(RosterFile.sha256) == col(RosterImport.sha256)
    )
    imported = select_record(_KeptImport, RosterImport, RosterFile).join(RosterFile, kept)
    return fetch_one(session, _KeptImport, imported.where(col(RosterImport.job_id) == job_id))


def _open(session: Session, job_id: UUID) -> tuple[BinaryIO, RosterReading] | None:
    found = _find_import(session, job_id)
    file = None if found is None else open_file(session, found.portal_id, found.sha256.hex())
    if found is None or file is None:
        return None
    if found.reading is None:  # refused as a whole: there is nothing to say of its rows
        file.close()
        return None
    try:
        return file, recall(file, found.reading)
    except RosterRefused:  # read by another version, with other rules
        file.close()
        return None


def _results(session: Session, job_id: UUID) -> Iterator[_ResultRow]:
    first = 0
    results = select_record(_ResultRow, JobPerson).where(col(JobPerson.job_id) == job_id)
    results = results.order_by(col(JobPerson.position)).limit(RESULTS)
    while rows := fetch(session, _ResultRow, results.where(col(JobPerson.position) >= first)):
        yield from rows
        first = rows[-1].position + 1
