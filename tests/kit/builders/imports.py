"""What tests of imported files share: a file, its import as a job, its work done."""

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
"""Rows of a chunk with the fixture `small_chunks`."""


def rows_of(*rows: str, header: str = HEADER) -> bytes:
    """A file of these rows, each as it is written."""
    return (header + "".join(f"{row}\r\n" for row in rows)).encode()


def file_of(*emails: str, header: str = HEADER) -> bytes:
    """A file of these people, by the names of their mailboxes, one a row."""
    lines = (
        f"Dû{place};Zoé;{email if '@' in email else f'{email}@example.com'};Paie" for place, email in enumerate(emails)
    )
    return (header + "".join(f"{line}\r\n" for line in lines)).encode()


def contract(seats: int = 100) -> None:
    """The contract files are imported into, with so many seats."""
    with transaction() as session:
        add_contract(session, "C-1", seats)


def drop(
    data: bytes, key: str = "key", *, contract: str = "C-1", name: str = "liste.csv", **options: Any
) -> AcceptedJob:
    """Hands a file over and asks for its import."""
    file = io.BytesIO(data)
    request = ImportRoster(contract=contract, file=digest_of(file), file_name=name, **options)
    with transaction() as session:
        return accept_file(session, LOCAL_PORTAL_ID, file, request, key=key)


def work() -> None:
    """Does the imports that are due."""
    rosters.do_batch(claimed(Queue.ROSTERS))


def close_open_files() -> None:
    """No file stays open for the next test."""
    for job_id in list(imports._sources):
        imports._close(job_id)


def codes(job_id: UUID) -> list[str]:
    """What became of each row of an import, in their order."""
    found = rows("SELECT code FROM job_person WHERE job_id = :id ORDER BY position", id=job_id)
    return [str(code) for (code,) in found]


def lines(job_id: UUID) -> list[tuple[int, str | None]]:
    """The lines of a report: number in the file and code."""
    with transaction() as session:
        return [(one.row.line, one.code) for one in report_rows(session, job_id)]
