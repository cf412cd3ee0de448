"""Requests for imports: repeated keys and files, the queue of portals, other portals, and cancelled imports."""

import io
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.certificates import job
from tests.kit.builders.contracts import accepted
from tests.kit.builders.imports import (
    CHUNK,
    codes,
    contract,
    drop,
    file_of,
    lines,
    work,
)
from tests.kit.processes.support import rows
from workers.actors import enrollments
from workers.database import transaction
from workers.errors import IdempotencyConflict, InvalidRequest
from workers.imports.acceptance import accept_import
from workers.imports.files import store_file
from workers.imports.importing import RunningImport
from workers.requests.imports import CancelImport, ImportRoster

pytestmark = pytest.mark.usefixtures("small_chunks")


def test_the_same_file_is_one_job_while_it_runs_and_another_afterwards() -> None:
    contract(2)
    data = file_of("a", "b", "c")
    first = drop(data, "one")
    again = drop(data, "two")
    assert (again.job_id, again.repeated) == (first.job_id, True)
    assert drop(data, "three", dry_run=True).job_id != first.job_id
    work()
    work()
    assert codes(first.job_id) == ["enrolled", "enrolled", "no_seat_left"]
    contract(5)  # seats bought in between
    later = drop(data, "four")
    assert not later.repeated
    work()
    assert codes(later.job_id) == ["already_enrolled", "already_enrolled", "enrolled"]
    assert drop(data, "one").job_id == first.job_id  # the same key gives the first report
    assert rows("SELECT count(*) FROM roster_file") == [(1,)]


def test_a_key_stands_for_one_file() -> None:
    contract()
    drop(file_of("a"))
    with pytest.raises(IdempotencyConflict):
        drop(file_of("b"))
    with transaction() as session, pytest.raises(InvalidRequest):
        accept_import(session, LOCAL_PORTAL_ID, ImportRoster(contract="C-1", file="0" * 64, file_name="x"), key="k")


def cancel(job_id: UUID, key: str = "cancel") -> dict[str, Any]:
    with transaction() as session:
        asked = accepted(session, CancelImport(job=job_id), key)
    enrollments.do_batch(claimed())
    return job(asked)


def test_an_import_is_stopped_between_two_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    contract()
    job_id = drop(file_of(*"abcdefghij")).job_id
    answers: list[dict[str, Any]] = []

    def cancel_after_the_first(course: RunningImport) -> RunningImport:
        if course.position and not answers:
            answers.append(cancel(job_id))
        return real(course)

    real = RunningImport.read_ahead
    monkeypatch.setattr(RunningImport, "read_ahead", cancel_after_the_first)
    work()
    assert [(one["state"], one["result"]["code"]) for one in answers] == [("succeeded", "cancelled")]
    shown = job(job_id)
    assert (shown["state"], shown["result"]["rows_done"], codes(job_id)) == ("cancelled", CHUNK, ["enrolled"] * CHUNK)
    assert cancel(job_id, "again")["result"]["code"] == "already_finished"


def test_only_an_import_of_ones_own_is_stopped() -> None:
    contract()
    job_id = drop(file_of("a")).job_id
    with transaction() as session:
        session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'other')"), {"id": UUID(int=7)})
        session.execute(text("UPDATE job SET portal_id = :id"), {"id": UUID(int=7)})
    assert (cancel(job_id)["state"], cancel(job_id)["result"]["code"]) == ("refused", "not_found")


def test_an_import_that_has_not_begun_is_stopped() -> None:
    """This includes an import from the queue of portals: no person is enrolled at its turn."""
    contract()
    with transaction() as session:
        sha256 = store_file(session, LOCAL_PORTAL_ID, io.BytesIO(file_of("a")))
        job_id = accepted(session, ImportRoster(contract="C-1", file=sha256, file_name="liste.csv"), "queue")
    assert cancel(job_id)["result"]["code"] == "cancelled"
    work()
    assert (job(job_id)["state"], codes(job_id)) == ("cancelled", [])


def test_an_import_requested_by_message_is_reported_like_any_other() -> None:
    contract()
    data = file_of("a", "x@y")
    with transaction() as session:
        sha256 = store_file(session, LOCAL_PORTAL_ID, io.BytesIO(data))
        job_id = accepted(session, ImportRoster(contract="C-1", file=sha256, file_name="liste.csv"), "queue")
    work()
    assert lines(job_id) == [(2, "enrolled"), (3, "invalid_email")]
    assert job(job_id)["file"]["name"] == "liste.csv"


def test_the_hash_of_another_portals_file_opens_nothing() -> None:
    contract()
    with transaction() as session:
        session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'other')"), {"id": UUID(int=7)})
        sha256 = store_file(session, UUID(int=7), io.BytesIO(file_of("a")))
        with pytest.raises(InvalidRequest):
            accept_import(session, LOCAL_PORTAL_ID, ImportRoster(contract="C-1", file=sha256, file_name="x"), key="k")
        job_id = accepted(session, ImportRoster(contract="C-1", file=sha256, file_name="x"), "queue")
    work()
    assert (job(job_id)["state"], job(job_id)["result"]["code"]) == ("refused", "unreadable_file")
