"""What tests of imported files share: a file, its import as a job, its work done."""

import io
from typing import Any

from models.portal import LOCAL_PORTAL_ID
from tests.committed import claimed
from workers.actors import imports, rosters
from workers.database import transaction
from workers.queues import Queue
from workers.roster_requests import ImportRoster
from workers.services.acceptance import Accepted
from workers.services.roster_acceptance import accept_file, digest_of

HEADER = "Nom;Prénom;E-mail;Service\r\n"


def rows_of(*rows: str, header: str = HEADER) -> bytes:
    """A file of these rows, each as it is written."""
    return (header + "".join(f"{row}\r\n" for row in rows)).encode()


def drop(data: bytes, key: str = "key", *, contract: str = "C-1", name: str = "liste.csv", **options: Any) -> Accepted:
    """Hands a file over and asks for its import."""
    file = io.BytesIO(data)
    request = ImportRoster(contract=contract, file=digest_of(file), file_name=name, **options)
    with transaction() as session:
        return accept_file(session, LOCAL_PORTAL_ID, file, request, key=key)


def work() -> None:
    """Does the imports that are due."""
    rosters.do_batch(claimed(Queue.ROSTERS))


def let_go() -> None:
    """No file stays open for the next test."""
    for job_id in list(imports._sources):
        imports._close(job_id)
