"""Imports a roster file chunk by chunk, by the same enrollment as any other request.

The people of a chunk, their addresses, the position and the lease are committed together: after a kill the job goes on
there. Duplicates are found through rows of the database, so that a million rows take no more memory than ten.
"""

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, BinaryIO, Final, NamedTuple, Self, cast
from uuid import UUID

from sqlalchemy import delete, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from models.contract import Contract
from models.label import trim
from models.person import Person, Refusal
from models.roster import RosterAddress, RosterImport
from models.words import DONE_CODES, Code, EmailKind, JobState, Policy
from workers.database import Session, array
from workers.engine.chunks import Chunk
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import PersonResult, count_codes, count_hints, insert_people, read_hints
from workers.enrollment.enrolling import EnrollmentAnswer, EnrollmentOrder, enroll
from workers.enrollment.jobs import CHUNK, opens, summary
from workers.outbox.mails import OwedMail, owe
from workers.requests.base import fingerprint
from workers.requests.enrollment import MAX_PEOPLE
from workers.requests.imports import ImportRoster
from workers.requests.registry import parse
from workers.rosters.people import check_row
from workers.rosters.reader import RosterReading, RosterRow, read_rows
from workers.security.throttles import address_subjects
from workers.sql import fetch

IN_PARTS: Final = Policy.UNTIL_FULL


class _AcceptedAddress(NamedTuple):
    address: UUID
    line: int | None


# Reads which of these addresses the job has accepted in earlier chunks, and on which lines.
READ_ADDRESSES = text("""
    SELECT ra.address, ra.line FROM roster_address ra
    WHERE ra.job_id = :job AND ra.address = ANY(CAST(:addresses AS uuid[]))""")

# Records the addresses that a chunk has accepted.
INSERT_ADDRESSES = text("""
    INSERT INTO roster_address (job_id, address, line)
    SELECT :job, given.address, given.line
    FROM unnest(CAST(:addresses AS uuid[]), CAST(:lines AS int[])) given (address, line) ON CONFLICT DO NOTHING""")


LONGEST_FIELD: Final = 10_000
"""Characters of a cell that an import keeps: no address or name is longer, with all its white space."""


@dataclass(slots=True)
class RosterSource:
    """The rows of a file. A chunk may be read again, because its transaction may have failed.

    Parameters:
      beat: called every second or so while rows are read. An error that it raises ends the reading.
    """

    file: BinaryIO
    reading: RosterReading
    beat: Callable[[], None] = lambda: None
    _at: int = 0
    _chunk: Sequence[RosterRow] = ()
    _further: Generator[RosterRow, None, None] | None = field(default=None, repr=False)

    def chunk(self, position: int, size: int) -> Sequence[RosterRow]:
        """Returns up to `size` rows from a position on, counted from 0. A first read is slow: not in a transaction.

        The rows have only the cells of the person, without the rest of very long ones, so that a chunk stays small.
        """
        if self._further is not None and position == self._at and (self._chunk or position >= self.reading.rows):
            return self._chunk
        try:
            self._read(position, size)
        except BaseException:
            self._let_go()  # a generator that raised an error ends: the next read begins anew
            raise
        return self._chunk

    def _read(self, position: int, size: int) -> None:
        if self._further is None or position != self._at + len(self._chunk):
            self._let_go()
            self._further = read_rows(self.file, self.reading, self._beat)
            next(islice(self._further, position, position), None)  # passes over what was done before
        self._at, self._chunk = position, tuple(_slim(row) for row in islice(self._further, size))

    def _beat(self) -> None:
        self.beat()  # the one of the attempt that reads now

    def close(self) -> None:
        """Closes the file."""
        self._let_go()
        self.file.close()

    def _let_go(self) -> None:
        if self._further is not None:
            self._further.close()
        self._further, self._chunk = None, ()


def _slim(row: RosterRow) -> RosterRow:
    """Returns the row with no more than an import needs."""
    slim = row._replace(cells=())
    if max(map(len, slim[1:6])) <= LONGEST_FIELD:
        return slim
    cut = [trim(str(cell))[:LONGEST_FIELD] for cell in slim[1:6]]
    return RosterRow(slim.line, *cut)


@dataclass(frozen=True, slots=True)
class RunningImport:
    """An import in progress.

    Parameters:
      position: the number of rows done; the job keeps it too, and each chunk moves it in its transaction.
      planned: the seats that a dry run has planned so far, and not taken.
    """

    row: ClaimedRow
    request: ImportRoster
    source: RosterSource
    position: int
    planned: int = 0

    @property
    def chunk(self) -> int:
        """The number of rows that the next transaction does: all of them where the policy allows no parts."""
        return CHUNK if self.request.policy is IN_PARTS else MAX_PEOPLE

    def read_ahead(self) -> Self:
        """Reads the next rows, so that the transaction that does them does not wait for the file."""
        self.source.chunk(self.position, self.chunk)
        return self


def read_import(row: ClaimedRow) -> ImportRoster:
    return cast("ImportRoster", parse(row.columns.kind, row.columns.request))


def refused_because(request: ImportRoster, reading: RosterReading) -> Code | None:
    """Returns why a readable file cannot be imported: without parts, one transaction must not be too large."""
    return Code.TOO_LARGE if request.policy is not IN_PARTS and reading.rows > MAX_PEOPLE else None


def refuse(session: Session, row: ClaimedRow, code: Code, detail: str) -> WorkOutcome:
    """Ends an import because its file as a whole is refused."""
    request = read_import(row)
    record_import(session, row.id, row.columns.portal_id, request)
    _owe_report(session, row, request)
    return WorkOutcome(row.id, row.claim, JobState.REFUSED, {"code": code, "field": "file", "detail": detail})


def record_import(session: Session, job_id: UUID, portal_id: UUID, request: ImportRoster) -> None:
    """Records what the job of an import needs beside its request, once: one from the queue of portals has none yet."""
    row = {
        "job_id": job_id,
        "portal_id": portal_id,
        "fingerprint": fingerprint(request),
        "sha256": bytes.fromhex(request.file),
        "file_name": request.file_name,
    }
    session.execute(insert(RosterImport).values(row).on_conflict_do_nothing())


def resume(session: Session, row: ClaimedRow, request: ImportRoster, source: RosterSource) -> RunningImport:
    """Takes an import up after its last committed chunk, and records how its file was understood."""
    position = row.columns.position
    reading = source.reading
    record_import(session, row.id, row.columns.portal_id, request)
    _record_reading(session, row.id, reading)
    counts = count_codes(session, row.id) if position else Counter[Code]()
    planned = counts[Code.ENROLLED] + counts[Code.ATTACHED] if request.dry_run else 0
    return RunningImport(row, request, source, position, planned)


def _record_reading(session: Session, job_id: UUID, reading: RosterReading) -> None:
    unread = (col(RosterImport.job_id) == job_id, col(RosterImport.rows).is_(None))
    understood = {"reading": reading_json(reading), "rows": reading.rows}
    session.execute(update(RosterImport).where(*unread).values(understood))


def import_chunk(session: Session, run: RunningImport) -> Chunk[RunningImport]:
    """Enrols the people of the next chunk; the outcome comes with the last, or when the import was cancelled."""
    row = run.row
    if session.exec(select(RosterImport.cancelled_at).where(RosterImport.job_id == row.id)).first() is not None:
        return Chunk(run, run.position, _end(session, run, None, JobState.CANCELLED))
    found = run.source.chunk(run.position, run.chunk)
    people = [check_row(one) for one in found]
    answer = enroll(session, [_order(session, run, people, [one.line for one in found])])[0]
    insert_people(session, [(row.id, _with_line(person, found, run.position)) for person in answer.people])
    _remember(session, row.id, answer)
    taken = sum(person.code in (Code.ENROLLED, Code.ATTACHED) for person in answer.people)
    further = replace(
        run,
        position=run.position + len(found),
        planned=run.planned + (taken if run.request.dry_run else 0),
    )
    if found and answer.opens is None and further.position < run.source.reading.rows:
        return Chunk(further, further.position)
    state = None if answer.opens is None else JobState.REFUSED  # a dry run that tells no more: what it said stays
    return Chunk(further, further.position, _end(session, further, answer, state))


def _order(
    session: Session, run: RunningImport, people: Sequence[Person | Refusal], lines: Sequence[int]
) -> EnrollmentOrder:
    request = run.request
    addresses = address_subjects({one.email_norm for one in people if one.email_norm is not None})
    accepted = fetch(session, _AcceptedAddress, READ_ADDRESSES, _addresses(run.row.id, addresses))
    known = {one.address: one.line for one in accepted}
    taken = {email: known[address] for email, address in addresses.items() if address in known}
    return EnrollmentOrder(
        run.row.id,
        run.row.columns.portal_id,
        request,
        people,
        run.position,
        taken,
        urgent=False,
        planned=run.planned,
        lines=lines,
    )


def _addresses(job_id: UUID, addresses: Mapping[str, UUID]) -> dict[str, Any]:
    return {"job": job_id, "addresses": array(addresses.values())}


def _with_line(person: PersonResult, found: Sequence[RosterRow], first: int) -> PersonResult:
    """Adds the line of a row to its result."""
    return person._replace(detail={"line": found[person.position - first].line, **(person.detail or {})})


def _remember(session: Session, job_id: UUID, answer: EnrollmentAnswer) -> None:
    order = answer.order
    done = [one.position - order.first_position for one in answer.people if one.code in DONE_CODES]
    lines = {person.email_norm: order.place(at) for at in done if isinstance(person := order.people[at], Person)}
    if lines:
        addresses = address_subjects(set(lines))
        in_order = [lines[email] for email in addresses]
        session.execute(INSERT_ADDRESSES, _addresses(job_id, addresses) | {"lines": array(in_order)})


def _end(session: Session, run: RunningImport, answer: EnrollmentAnswer | None, state: JobState | None) -> WorkOutcome:
    row, counts = run.row, count_codes(session, run.row.id)
    session.execute(delete(RosterAddress).where(col(RosterAddress.job_id) == row.id))
    refused = not any(counts[code] for code in DONE_CODES)
    code = answer.code if answer is not None and (refused or answer.opens) else None
    contract = answer.contract if answer is not None else None
    result = summary(counts, contract, dry_run=run.request.dry_run, carried_out=code is None, code=code)
    result |= {"rows": run.source.reading.rows, "rows_done": run.position} | (opens(answer) if answer else {})
    result |= count_hints(one.detail for one in read_hints(session, row.id))
    ended = JobState.REFUSED if refused else JobState.SUCCEEDED
    _owe_report(session, row, run.request)
    return WorkOutcome(row.id, row.claim, state or ended, result)


def _owe_report(session: Session, row: ClaimedRow, request: ImportRoster) -> None:
    """Owes the summary to the address the request names; none of a dry run, which changed nothing."""
    if request.report_to is None or request.dry_run:
        return
    portal_id = row.columns.portal_id
    known = select(Contract.company_id, Contract.id).where(Contract.portal_id == portal_id)
    contract = session.exec(known.where(Contract.reference == request.contract)).first()
    company_id, contract_id = contract or (portal_id, None)
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
    """Returns how a file was understood, for reports and jobs."""
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
        "accented": list(reading.accented),
    }
