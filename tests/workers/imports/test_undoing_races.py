"""Undoing an import beside progress, the same file again, single enrollments, and a locked contract."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    enrol_people,
    seats,
)
from tests.kit.processes.support import rows, wait_until
from tests.kit.races.racers import (
    do,
    do_until_done,
    progress_of,
    waiting_for_a_lock,
)
from workers.actors import rosters
from workers.database import Session, transaction
from workers.engine import claimer, ledger
from workers.engine.ledger import JOBS, ClaimedRow, JobColumns
from workers.imports import importing as roster_imports
from workers.imports import running as imports
from workers.imports import undoing as roster_undoing
from workers.imports.acceptance import accept_file, digest_of
from workers.imports.undoing import cancel_imports
from workers.ops.reconciliation import find_drift
from workers.reading.jobs import show_job
from workers.requests.imports import CancelImport, ImportRoster, UndoImport
from workers.requests.queues import Queue

CHUNK = 3
PEOPLE = tuple("abcdefgh")
UNFINISHED = "SELECT 1 FROM job WHERE queue = 'rosters' AND finished_at IS NULL"


@pytest.fixture(autouse=True)
def threads(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    """Sets chunks of three rows and creates a contract with as many seats as the file has people."""
    monkeypatch.setattr(roster_undoing, "CHUNK", CHUNK)
    monkeypatch.setattr(roster_imports, "CHUNK", CHUNK)
    with transaction() as session:
        add_contract(session, "C-1", len(PEOPLE))
    with ThreadPoolExecutor(4) as pool:
        yield pool
    claimer.STOPPING.clear()
    for job_id in list(imports._sources):
        imports._close(job_id)


def drop(key: str) -> UUID:
    """Imports the same file each time."""
    lines = "".join(f"Dû;Zoé;{name}@example.com\n" for name in PEOPLE)
    file = io.BytesIO(f"Nom;Prénom;E-mail\n{lines}".encode())
    request = ImportRoster(contract="C-1", file=digest_of(file), file_name="liste.csv")
    with transaction() as session:
        return accept_file(session, LOCAL_PORTAL_ID, file, request, key=key).job_id


def undo(job_id: UUID, key: str = "undo") -> UUID:
    with transaction() as session:
        return accepted(session, UndoImport(job=job_id), key)


def work() -> None:
    """Does one unfinished job as a worker does; other threads may do the others."""
    with transaction() as session:
        session.execute(text("UPDATE job SET due_at = now() WHERE due_at > now() AND leased_until IS NULL"))
        claimed = ledger.claim(session, JOBS, Queue.ROSTERS, size=1, lease=30, worker=new_id())
    rosters.do_batch(claimed)


def work_until_done() -> None:
    pause = Event()
    while rows(UNFINISHED):
        work()
        pause.wait(0.005)


def imported(key: str = "first") -> UUID:
    job_id = drop(key)
    work_until_done()
    return job_id


def shown(job_id: UUID) -> dict[str, Any]:
    with transaction() as session:
        return show_job(session, job_id) or {}


def codes(job_id: UUID) -> list[str]:
    return [person["code"] for person in shown(job_id)["result"]["people"]]


def enrollments(job_id: UUID) -> list[UUID]:
    return [UUID(person["enrollment_id"]) for person in shown(job_id)["result"]["people"]]


def do_cancel(session: Session, request: CancelImport) -> tuple[str, str]:
    columns = JobColumns(request.kind, LOCAL_PORTAL_ID, request.model_dump_json(), 0, "")
    [outcome] = cancel_imports(session, [ClaimedRow(new_id(), 1, 0, 0, new_id(), columns)])
    return outcome.state, (outcome.result or {})["code"]


def used() -> int:
    with transaction() as session:
        assert find_drift(session) == []
        return seats(session)


def test_an_undo_that_arrives_during_progress_finds_the_training_begun(threads: ThreadPoolExecutor) -> None:
    first = imported()
    begun = enrollments(first)[1:2]
    taken_back = undo(first)
    with transaction() as session:
        do(session, progress_of(begun))
        second = threads.submit(work_until_done)
        wait_until(waiting_for_a_lock(1))
    second.result(30)
    assert codes(taken_back) == ["withdrawn", "already_started", *["withdrawn"] * 6]
    assert used() == 1


def test_progress_that_arrives_during_an_undo_finds_the_person_gone(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = imported()
    people = enrollments(first)
    taken_back = undo(first)
    told: list[Any] = []

    def meanwhile(*arguments: Any) -> Any:
        if not told:
            told.append(threads.submit(do_until_done, progress_of(people[:1])))
            wait_until(waiting_for_a_lock(1))
        return real(*arguments)

    real = roster_undoing._placed
    monkeypatch.setattr(roster_undoing, "_placed", meanwhile)
    work_until_done()
    assert told[0].result(30) == ("refused", {"already_withdrawn": 1})
    assert (codes(taken_back), used()) == (["withdrawn"] * 8, 0)
    assert rows("SELECT count(*) FROM job WHERE kind = 'issue_certificate'") == [(0,)]


def test_the_same_file_again_between_two_chunks_keeps_what_it_enrols(monkeypatch: pytest.MonkeyPatch) -> None:
    first = imported()
    taken_back = undo(first)

    def stop(*arguments: Any) -> Any:
        claimer.STOPPING.set()
        return real(*arguments)

    real = roster_undoing._placed
    with monkeypatch.context() as stopping:
        stopping.setattr(roster_undoing, "_placed", stop)
        work()
    claimer.STOPPING.clear()
    second = drop("second")
    with transaction() as session:  # the import overtakes the rest of the undo
        session.execute(text("UPDATE job SET due_at = now() + interval '1 hour' WHERE id = :id"), {"id": taken_back})
        claimed = ledger.claim(session, JOBS, Queue.ROSTERS, size=1, lease=30, worker=new_id())
    rosters.do_batch(claimed)
    assert codes(second) == ["attached"] * CHUNK + ["already_enrolled"] * 5
    work_until_done()
    assert (codes(taken_back), used()) == (["withdrawn"] * 8, CHUNK)
    last = undo(second, "last")
    work_until_done()
    assert (codes(last), used()) == (["withdrawn"] * CHUNK, 0)


@pytest.mark.parametrize("turn", range(5))
def test_the_same_file_again_at_the_same_moment_leaves_one_truth(threads: ThreadPoolExecutor, turn: int) -> None:
    first = imported()
    taken_back, second = undo(first), drop("second")
    barrier = Barrier(2)

    def run() -> None:
        barrier.wait(10)
        work_until_done()

    for done in [threads.submit(run) for _ in range(2)]:
        done.result(60)
    assert codes(taken_back) == ["withdrawn"] * 8
    assert set(codes(second)) <= {"attached", "already_enrolled"}
    assert used() == codes(second).count("attached")
    assert rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]


def test_a_single_enrollment_has_its_turn_between_two_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    first = imported()  # all seats are used
    taken_back = undo(first)
    found: list[str] = []

    def between(*arguments: Any, **options: Any) -> Any:
        with transaction() as session:  # a lock kept between two chunks would time out here
            found.extend(enrol_people(session, f"single{len(found)}"))
        return real(*arguments, **options)

    real = roster_undoing.undo_chunk
    monkeypatch.setattr(roster_undoing, "undo_chunk", between)
    work_until_done()
    assert found == ["no_seat_left", "enrolled", "enrolled"]
    assert (codes(taken_back), used()) == (["withdrawn"] * 8, 2)


def test_a_locked_contract_postpones_and_counts_no_failure() -> None:
    taken_back = undo(imported())
    with transaction() as other:
        other.execute(text("SELECT 1 FROM contract FOR NO KEY UPDATE"))
        work()
    waiting = shown(taken_back)
    outcomes = [attempt["outcome"] for attempt in waiting["attempts"]]
    assert (waiting["state"], waiting["failures"], outcomes) == ("queued", 0, ["postponed"])
    work_until_done()
    assert (shown(taken_back)["state"], codes(taken_back), used()) == ("succeeded", ["withdrawn"] * 8, 0)


def test_cancelling_is_for_imports() -> None:
    taken_back = undo(imported())
    with transaction() as session:
        request = CancelImport(job=taken_back)
        assert (request.queue, do_cancel(session, request)) == (Queue.ENROLLMENTS, ("refused", "not_found"))
    work_until_done()
    assert (shown(taken_back)["state"], used()) == ("succeeded", 0)
