"""The tests of inboxes use these: a folder that is an inbox, files dropped in it, scans, and files put away."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.contracts import add_contract, seats
from tests.kit.builders.imports import close_open_files
from tests.kit.processes.support import change, rows
from workers.actors import maintenance, rosters
from workers.database import transaction
from workers.engine.acceptance import accept_internal
from workers.imports.inboxes import put_inbox
from workers.requests.internal import PutInbox, ScanInboxes
from workers.requests.queues import Queue

HEADER = "Nom;Prénom;E-mail\r\n"


@pytest.fixture
def folder(fresh_database: str, tmp_path: Path) -> Iterator[Path]:
    """Creates an empty folder that is the inbox of contract C-1."""
    with transaction() as session:
        add_contract(session, "C-1", 5)
    place = tmp_path / "inbox"
    place.mkdir()
    put(place)
    yield place
    close_open_files()


def put(place: Path, **options: Any) -> None:
    """Registers the folder as the inbox `rh` of contract C-1, or changes its options."""
    request = PutInbox(portal="local", reference="rh", contract="C-1", url=f"file://{place}", **options)
    with transaction() as session:
        put_inbox(session, LOCAL_PORTAL_ID, None, request)


def drop(place: Path, name: str = "liste.csv", *people: str, data: bytes | None = None) -> Path:
    """Writes a file of these people, or of these bytes, into the folder."""
    lines = "".join(f"Dû;Zoé;{one}@example.com\r\n" for one in people or ("a", "b"))
    file = place / name
    file.write_bytes((HEADER + lines).encode() if data is None else data)
    return file


def scan(*, settle: bool = True) -> dict[str, Any]:
    """Scans the inboxes once and returns the result; `settle` makes the files seen before old enough to import."""
    if settle:
        change("UPDATE inbox_file SET seen_at = seen_at - interval '2 minutes' WHERE job_id IS NULL")
    request = ScanInboxes()
    with transaction() as session:
        accept_internal(session, LOCAL_PORTAL_ID, request, "{}", key=f"schedule:inboxes:{time.monotonic_ns()}")
    maintenance.maintain(claimed(Queue.MAINTENANCE))
    result: Any = rows("SELECT result FROM job WHERE kind = 'scan_inboxes' ORDER BY created_at DESC LIMIT 1")[0][0]
    return dict(result)


def work() -> None:
    """Does the imports that are due."""
    found = claimed(Queue.ROSTERS)
    if found:
        rosters.do_batch(found)


def scan_to_the_end() -> None:
    """Scans and imports until the files are put away, also when a dry run comes first."""
    for _ in range(4):
        scan()
        work()
    scan()


def names(place: Path) -> list[str]:
    """Lists all files of a folder and its sub-folders."""
    return sorted(str(one.relative_to(place)) for one in place.rglob("*") if one.is_file())


def without_times(found: list[str]) -> list[str]:
    """Removes the time at the front of the names of files that were put away."""
    return [name.split("/")[0] + "/" + name.split("-", 2)[2] if "/" in name else name for name in found]


def used() -> int:
    """Returns the seats used on contract C-1."""
    with transaction() as session:
        return seats(session)


def report(place: Path, where: str = "done") -> dict[str, Any]:
    """Returns the only report in this sub-folder."""
    [found] = list((place / where).glob("*.report.json"))
    return dict(json.loads(found.read_text("utf-8")))
