"""Writes the mail that answers an imported file: the result, and the rows to be corrected."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import Text, cast, text
from sqlmodel import col

from models.job import Job, JobPerson
from models.roster import RosterImport
from models.words import DONE_CODES, Code, EmailKind, JobState, hints_of
from workers.database import Session
from workers.engine.results import read_hints
from workers.imports.reports import find_rows
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.facts import MailFacts
from workers.mail.letters.letter import Letter, names, not_wanted
from workers.requests.base import read
from workers.requests.imports import ImportRoster
from workers.rosters.kept_rows import KeptRows
from workers.rosters.reader import accented_names
from workers.sql import fetch, fetch_one, select_record

LINES_TO_CHECK: Final = 50
"""Lines that the mail names for each thing to check; the report of the import has all of them."""

MOST_FAILED: Final = 300_000
"""Refused rows a mail may still be able to carry (``workers/mail/attachments.py``)."""


MOST_DOUBTFUL: Final = 20
"""Doubtful mail domains that the text of a mail lists."""


class _ReportedImport(NamedTuple):
    state: str
    result: Any
    request: str | None
    file_name: str
    reading: Any


class _RefusedRow(NamedTuple):
    position: int
    code: str
    detail: Any


class _DoubtfulRow(NamedTuple):
    line: int | None
    domain: str
    total: int


# Reads the first accepted rows of an import whose mail domain is one keystroke away from a well-known one.
READ_DOUBTFUL = text("""
    SELECT CAST(p.detail ->> 'line' AS int) AS line, p.detail ->> 'did_you_mean' AS domain, count(*) OVER () AS total
    FROM job_person p
    WHERE p.job_id = :job AND p.code = ANY(CAST(:codes AS text[])) AND p.detail ->> 'did_you_mean' IS NOT NULL
    ORDER BY p.position LIMIT :most""")


@dataclass(frozen=True, slots=True)
class FailedRows:
    """The refused rows of a file, read while the mail is rendered: never all of them at once."""

    rows: KeptRows
    results: Sequence[_RefusedRow]

    def __iter__(self) -> Iterator[tuple[int, Sequence[str], str, Mapping[str, Any] | None]]:
        """Yields line, cells, code and detail of each row. Raises: RosterRefused (``KeptRows``)."""
        for row, result in zip(self.rows, self.results, strict=True):
            yield row.line, row.cells, result.code, result.detail


def write_import_report(session: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes the report, also of a file that could not be read. Of an unknown contract both names are None."""
    found = _read_import(session, mail)
    if found is None or found.request is None:
        return not_wanted(mail)
    context = (
        _values(mail, found, found.request) | {"hints": _read_hints(session, mail)} | _read_doubtful(session, mail)
    )
    failed = _read_failed(session, mail) if _lists_rows(found, context) else []
    accented = (found.reading or {}).get("accented", [])
    rows = find_rows(session, mail.job_id, []) if mail.job_id and (failed or accented) else None
    attach = partial(_from_file, failed, accented)
    return Letter(mail, EmailKind.IMPORT_REPORT, names(facts) | context, rows=rows, from_rows=attach)


def _read_import(session: Session, mail: ClaimedMail) -> _ReportedImport | None:
    imported = select_record(_ReportedImport, Job, RosterImport, request=cast(col(Job.request), Text))
    of_this_job = imported.join(RosterImport, col(RosterImport.job_id) == col(Job.id)).where(col(Job.id) == mail.job_id)
    return fetch_one(session, _ReportedImport, of_this_job)


def _read_failed(session: Session, mail: ClaimedMail) -> list[_RefusedRow]:
    people = select_record(_RefusedRow, JobPerson).where(col(JobPerson.job_id) == mail.job_id)
    refused = people.where(col(JobPerson.code).not_in(DONE_CODES)).order_by(col(JobPerson.position))
    return fetch(session, _RefusedRow, refused)


def _read_hints(session: Session, mail: ClaimedMail) -> list[dict[str, Any]]:
    """Reads what is to be checked: a code, on how many lines, and the first of these lines."""
    found = read_hints(session, mail.job_id) if mail.job_id else []
    lines: dict[Code, list[int]] = {}
    for person in found:
        for code in hints_of(person.detail):
            lines.setdefault(code, []).append(person.detail["line"])
    return [{"code": code, "number": len(all_), "lines": all_[:LINES_TO_CHECK]} for code, all_ in lines.items()]


def _read_doubtful(session: Session, mail: ClaimedMail) -> dict[str, Any]:
    """Returns the first rows with a doubtful mail domain, and the number of all of them."""
    asked = {"job": mail.job_id, "codes": [*DONE_CODES], "most": MOST_DOUBTFUL}
    found = fetch(session, _DoubtfulRow, READ_DOUBTFUL, asked)
    shown = [{"line": one.line, "did_you_mean": one.domain} for one in found]
    return {"doubtful": shown, "doubtful_count": found[0].total if found else 0}


def _values(mail: ClaimedMail, found: _ReportedImport, request: str) -> dict[str, Any]:
    result, reading = found.result or {}, found.reading or {}
    counts = result.get("counts", {})
    unread = result.get("field") == "file"
    return {
        "job_id": str(mail.job_id),
        "state": found.state,
        "file_code": result.get("code") if unread else None,
        "again": result.get("code") is not None and not unread,
        "file_name": found.file_name,
        "encoding": reading.get("encoding"),
        "delimiter": reading.get("delimiter"),
        "sheet": reading.get("sheet"),
        "contract_reference": read(ImportRoster, request).contract,
        "planned_seats": result.get("planned_seats"),
        "enrolled_count": result.get("enrolled_count"),
        "remaining": result.get("remaining"),
        "counts": counts,
        "failed_count": sum(number for code, number in counts.items() if code not in DONE_CODES),
        "failed": None,
        "header": None,
        "accented": [],
    }


def _lists_rows(found: _ReportedImport, context: Mapping[str, Any]) -> bool:
    """Tells whether the mail carries the refused rows: not those of a file that can be dropped again as it is."""
    wanted = 0 < context["failed_count"] <= MOST_FAILED
    return wanted and not context["again"] and found.state != JobState.DEAD


def _from_file(failed: Sequence[_RefusedRow], accented: Sequence[int], rows: KeptRows) -> Mapping[str, Any]:
    """Returns the values that the file gives: the refused rows, and the first accented names."""
    found: dict[str, Any] = {"accented": accented_names(replace(rows, positions=accented) if accented else ())}
    if failed:
        refused = replace(rows, positions=[one.position for one in failed])
        found |= {"failed": FailedRows(refused, failed), "header": rows.reading.header}
    return found


WRITERS: Final = {EmailKind.IMPORT_REPORT: write_import_report}
