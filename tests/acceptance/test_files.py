"""Fifty companies drop fifty files while single enrollments arrive; at the end all numbers are right."""

import io
from uuid import UUID

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract, asking
from tests.kit.processes.support import Processes, rows, wait_until
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.engine.broker import wake
from workers.imports.acceptance import accept_file, digest_of
from workers.imports.reports import report_rows
from workers.ops.reconciliation import find_drift
from workers.requests.imports import ImportRoster
from workers.requests.queues import Queue

pytestmark = pytest.mark.heavy

COMPANIES = 50
PER_FILE = 20
SEATS = 15
UNFINISHED = "SELECT 1 FROM job WHERE kind IN ('import_roster', 'enroll') AND finished_at IS NULL LIMIT 1"
CODES = "SELECT code, count(*) FROM job_person WHERE job_id = :id GROUP BY code ORDER BY code"


def drop(number: int) -> UUID:
    """Drops a file of twenty people; all of them are also in the file of the next company."""
    lines = "".join(f"Dû;Zoé;p{number // 2}x{row}@example.com\n" for row in range(PER_FILE))
    file = io.BytesIO(f"Nom;Prénom;E-mail\n{lines}Dû;Zoé;personne@\n".encode())
    request = ImportRoster(contract=f"C-{number}", file=digest_of(file), file_name=f"{number}.csv")
    with transaction() as session:
        return accept_file(session, LOCAL_PORTAL_ID, file, request, key=f"file-{number}").job_id


def enrol_one(number: int) -> UUID:
    request = asking(f"single{number}", contract=f"C-{number}")
    with transaction() as session:
        accepted = accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=f"single-{number}")
    wake(accepted.queue)
    return accepted.job_id


def test_fifty_files_and_fifty_singles(processes: Processes) -> None:
    with transaction() as session:
        for number in range(COMPANIES):
            add_contract(session, f"C-{number}", SEATS, company=f"company-{number}")
    files = [drop(number) for number in range(COMPANIES)]
    processes.clock()
    processes.worker("rosters", threads=2)
    processes.worker("enrollments", threads=4)
    wake(Queue.ROSTERS)
    singles = [enrol_one(number) for number in range(COMPANIES)]
    wait_until(lambda: not rows(UNFINISHED), say=processes.logs, seconds=120)

    taken = rows("SELECT count(*), min(enrolled_count), max(enrolled_count) FROM contract")
    assert taken == [(COMPANIES, SEATS, SEATS)]
    for number in range(COMPANIES):
        counts = {str(code): int(str(many)) for code, many in rows(CODES, id=files[number])}
        joined = counts.get("enrolled", 0) + counts.get("attached", 0)
        [(single,)] = rows("SELECT result -> 'people' -> 0 ->> 'code' FROM job WHERE id = :id", id=singles[number])
        assert single in ("enrolled", "no_seat_left")
        assert joined + (single == "enrolled") == SEATS
        assert counts["no_seat_left"] == PER_FILE - joined
        assert counts["invalid_email"] == 1
    with transaction() as session:
        assert find_drift(session) == []
        assert [one.row.line for one in report_rows(session, files[0])] == list(range(2, PER_FILE + 3))
