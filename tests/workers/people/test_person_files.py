"""An export lists the roster files that name a person; an erasure deletes them, unless an import requested meanwhile
needs them.
"""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import all_rows, claimed, fail_half_way
from tests.kit.builders.contracts import add_contract, enrol_people, someone
from tests.kit.builders.imports import (
    close_open_files,
    drop,
    rows_of,
    work,
)
from tests.kit.processes.support import change, rows, wait_until
from workers.actors import enrollments
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.imports.acceptance import accept_file, accept_import, digest_of
from workers.people import erasure
from workers.reading.jobs import show_job
from workers.requests.accounts import ErasePerson, ExportPerson
from workers.requests.base import Request
from workers.requests.imports import ImportRoster
from workers.requests.queues import Queue

ANNE = "anne.lorval@example.com"
ERASING = ErasePerson(email=ANNE, reason="demande")
FILES = "SELECT (SELECT count(*) FROM roster_file), (SELECT count(DISTINCT sha256) FROM roster_part)"
KEPT = "SELECT 1 FROM roster_file WHERE encode(sha256, 'hex') = :file"
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
FIRST = rows_of("Dû;Zoé;zoe@example.com;Paie", ";;;", f"=Lorval;Anne;{ANNE};x")
SECOND = rows_of(f" LORVAL ;Anne;{ANNE.upper()};1;2;3", header="Nom;Prénom;E-mail;Nom;;\r\n")
OTHERS = rows_of("Dû;Léa;lea@example.com;")


@pytest.fixture(autouse=True)
def known(fresh_database: str) -> Iterator[None]:
    """Creates Anne, two files that found her enrolled, and a third file that does not name her."""
    with transaction() as session:
        add_contract(session)
        enrol_people(session, someone(ANNE, "Anne", "Lorval"))
    for number, data in enumerate((FIRST, SECOND, OTHERS)):
        drop(data, str(number))
        work()
    yield
    close_open_files()


def did(request: Request, portal: Any = LOCAL_PORTAL_ID) -> dict[str, Any]:
    with transaction() as session:
        job_id = accept(session, portal, request, request.model_dump_json(), key=str(new_id())).job_id
    enrollments.do_batch(claimed(Queue.MAINTENANCE))
    with transaction() as session:
        shown = show_job(session, job_id) or {}
    assert shown["state"] == "succeeded", shown
    return dict(shown["result"])


def erased() -> int:
    return int(did(ERASING)["counts"]["files"])


def files(portal: Any = LOCAL_PORTAL_ID) -> list[tuple[object, ...]]:
    found = did(ExportPerson(email=ANNE), portal)["person"]["files"]
    assert "Paie" not in str(found)
    return [(one["file_name"], one["sha256"], one["line"], one["code"], one["kept"]) for one in found]


def test_an_export_says_which_line_of_which_file_is_theirs() -> None:
    first, second = (digest_of(io.BytesIO(data)) for data in (FIRST, SECOND))
    assert files() == [
        ("liste.csv", first, 4, "already_enrolled", True),
        ("liste.csv", second, 2, "already_enrolled", True),
    ]
    change("DELETE FROM roster_file WHERE encode(sha256, 'hex') = :file", file=first)
    assert [(line, kept) for _, _, line, _, kept in files()] == [(4, False), (2, True)]


def test_an_export_tells_a_portal_of_its_own_files_only() -> None:
    portal = new_id()
    change("INSERT INTO portal (id, name) VALUES (:id, 'lms')", id=portal)
    change("UPDATE contract SET portal_id = :id", id=portal)
    assert files(portal) == []
    change("UPDATE roster SET portal_id = :id WHERE encode(sha256, 'hex') = :file", id=portal,
           file=digest_of(io.BytesIO(SECOND)))  # fmt: skip
    assert [(line, kept) for _, _, line, _, kept in files(portal)] == [(2, False)]


def test_an_erasure_deletes_the_files_with_their_parts_and_no_others() -> None:
    assert rows(FILES) == [(3, 3)]
    assert erased() == 2
    assert rows(FILES) == [(1, 1)]
    assert rows(KEPT, file=digest_of(io.BytesIO(OTHERS))) == [(1,)]
    assert [row for found in all_rows().values() for row in found if "lorval" in row.lower()] == []


def test_an_erasure_that_fails_half_way_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        accept(session, LOCAL_PORTAL_ID, ERASING, ERASING.model_dump_json(), key="erase")
    for step in ("_delete_files", "record"):
        fail_half_way(monkeypatch, erasure, step, Queue.MAINTENANCE)
        assert rows(FILES) == [(3, 3)]
    enrollments.do_batch(claimed(Queue.MAINTENANCE))
    assert rows(FILES) == [(1, 1)]


@pytest.mark.parametrize("handed_over", [True, False])
def test_a_file_asked_for_again_while_it_is_deleted_stays(handed_over: bool) -> None:
    """The new request locks the file; an erasure that waits for this lock then finds the import that needs the file."""
    file = io.BytesIO(SECOND)
    request = ImportRoster(contract="C-1", file=digest_of(file), file_name="liste.csv", dry_run=True)
    with transaction() as session:
        accept(session, LOCAL_PORTAL_ID, ERASING, ERASING.model_dump_json(), key="erase")
    taken = claimed(Queue.MAINTENANCE)
    with ThreadPoolExecutor(1) as pool:
        with transaction() as asking:
            if handed_over:
                accept_file(asking, LOCAL_PORTAL_ID, file, request, key="while")
            else:
                accept_import(asking, LOCAL_PORTAL_ID, request, key="while")
            erasing = pool.submit(enrollments.do_batch, taken)
            wait_until(lambda: rows(WAITING))
        erasing.result(30)
    enrollments.do_batch(claimed(Queue.MAINTENANCE))  # if the erasure was not waited for
    assert rows("SELECT 1 FROM account WHERE erased_at IS NOT NULL") == [(1,)]
    assert rows(KEPT, file=request.file) == [(1,)]
    work()
    assert rows("SELECT count(*) FROM job WHERE kind = 'import_roster' AND state = 'succeeded'") == [(4,)]
