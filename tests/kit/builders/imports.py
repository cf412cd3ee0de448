"""The tests of imported files use these: a file, the job that imports it, and the result of that job."""

import io
from typing import Any
from uuid import UUID

from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.contracts import add_contract
from tests.kit.processes.support import rows
from workers.actors import rosters
from workers.database import transaction
from workers.engine.acceptance import AcceptedJob
from workers.imports import running as imports
from workers.imports.acceptance import accept_file, digest_of
from workers.imports.reports import report_rows
from workers.requests.imports import ImportRoster
from workers.requests.queues import Queue

HEADER = "Nom;Prénom;E-mail;Service\r\n"
CHUNK = 4
"""The number of rows of a chunk under the fixture `small_chunks`."""


def rows_of(*rows: str, header: str = HEADER) -> bytes:
    """Returns a CSV file of these rows, each written as it is."""
    return (header + "".join(f"{row}\r\n" for row in rows)).encode()


def file_of(*emails: str, header: str = HEADER) -> bytes:
    """Returns a CSV file with one row for each person, given by address or by mailbox name."""
    lines = (
        f"Dû{place};Zoé;{email if '@' in email else f'{email}@example.com'};Paie" for place, email in enumerate(emails)
    )
    return (header + "".join(f"{line}\r\n" for line in lines)).encode()


def contract(seats: int = 100) -> None:
    """Creates the contract C-1 with this many seats."""
    with transaction() as session:
        add_contract(session, "C-1", seats)


def drop(
    data: bytes, key: str = "key", *, contract: str = "C-1", name: str = "liste.csv", **options: Any
) -> AcceptedJob:
    """Stores a file and requests its import."""
    file = io.BytesIO(data)
    request = ImportRoster(contract=contract, file=digest_of(file), file_name=name, **options)
    with transaction() as session:
        return accept_file(session, LOCAL_PORTAL_ID, file, request, key=key)


def work() -> None:
    """Does the imports that are due."""
    rosters.do_batch(claimed(Queue.ROSTERS))


def close_open_files() -> None:
    """Closes the files that running imports hold open, so that the next test starts without them."""
    for job_id in list(imports._sources):
        imports._close(job_id)


def codes(job_id: UUID) -> list[str]:
    """Returns the code of each row of an import, in the order of the rows."""
    found = rows("SELECT code FROM job_person WHERE job_id = :id ORDER BY position", id=job_id)
    return [str(code) for (code,) in found]


def lines(job_id: UUID) -> list[tuple[int, str | None]]:
    """Returns the line number in the file and the code of each line of a report."""
    with transaction() as session:
        return [(one.row.line, one.code) for one in report_rows(session, job_id)]
