"""Undoing an import: only people who have not started, in chunks, resumed at the next row, with its own report."""

import io
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import all_rows, claimed
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    enrol_people,
    seats,
)
from tests.kit.processes.support import rows
from workers.actors import rosters
from workers.database import transaction
from workers.engine import claimer
from workers.imports import importing as roster_imports
from workers.imports import running as imports
from workers.imports import undoing as roster_undoing
from workers.imports.acceptance import accept_file, digest_of
from workers.reading.jobs import show_job
from workers.requests.imports import ImportRoster, UndoImport
from workers.requests.queues import Queue

CHUNK = 3


@pytest.fixture(autouse=True)
def small_chunks(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets chunks of three rows and creates a contract of a hundred seats."""
    monkeypatch.setattr(roster_undoing, "CHUNK", CHUNK)
    monkeypatch.setattr(roster_imports, "CHUNK", CHUNK)
    with transaction() as session:
        add_contract(session, "C-1", 100)
    yield
    claimer.STOPPING.clear()
    for job_id in list(imports._sources):
        imports._close(job_id)


def imported(*names: str, key: str = "import", **options: Any) -> UUID:
    lines = "".join(f"Dû;Zoé;{name}@example.com\n" for name in names)
    file = io.BytesIO(f"Nom;Prénom;E-mail\n{lines}".encode())
    request = ImportRoster(contract="C-1", file=digest_of(file), file_name="liste.csv", **options)
    with transaction() as session:
        job_id = accept_file(session, LOCAL_PORTAL_ID, file, request, key=key).job_id
    work()
    return job_id


def undo(job_id: UUID, key: str = "undo", **options: Any) -> UUID:
    with transaction() as session:
        return accepted(session, UndoImport(job=job_id, **options), key)


def work() -> None:
    rosters.do_batch(claimed(Queue.ROSTERS))


def job(job_id: UUID) -> dict[str, Any]:
    with transaction() as session:
        return show_job(session, job_id) or {}


def codes(job_id: UUID) -> list[str]:
    found = rows("SELECT code FROM job_person WHERE job_id = :id ORDER BY position", id=job_id)
    return [str(code) for (code,) in found]


def used() -> int:
    with transaction() as session:
        return seats(session)


def test_people_enrolled_by_the_file_who_have_not_started_are_withdrawn() -> None:
    with transaction() as session:
        enrol_people(session, "before")
    first = imported("a", "before", "b", "c", "x@", "d", "e", "a")
    with transaction() as session:
        session.execute(
            text("""
                UPDATE enrollment SET progress = 'in_progress', started_at = now()
                WHERE account_id = (SELECT id FROM account WHERE email_norm = 'c@example.com')""")
        )
    taken_back = undo(first)
    work()
    shown = job(taken_back)
    assert codes(taken_back) == ["withdrawn", "withdrawn", "already_started", "withdrawn", "withdrawn"]
    assert (shown["state"], shown["result"]["counts"]) == ("succeeded", {"withdrawn": 4, "already_started": 1})
    assert [person["detail"]["line"] for person in shown["result"]["people"]] == [2, 4, 5, 7, 8]
    assert (shown["progress"]["percent"], shown["progress"]["seconds_left"]) == (100, 0)  # the last row enrolled no one
    assert used() == 2  # one was enrolled before, one has started
    assert rows("SELECT count(*) FROM email WHERE kind = 'withdrawal'") == [(4,)]
    assert rows("SELECT count(*) FROM email WHERE kind = 'invitation' AND state = 'owed'") == [(2,)]
    assert rows("SELECT action FROM audit WHERE job_id = :id", id=taken_back) == [("undo_import",)]


def test_twice_does_it_once() -> None:
    first = imported("a", "b")
    undo(first)
    work()
    before = all_rows()
    again = undo(first, "again")
    work()
    after = all_rows()
    assert codes(again) == ["already_withdrawn"] * 2
    assert {name for name in after if after[name] != before[name]} == {"job", "job_person", "idempotency", "audit"}


def test_a_chunk_that_fails_is_done_again_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    first = imported(*"abcdefgh")
    taken_back = undo(first)
    calls: list[object] = []

    def fail_once(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise RuntimeError("killed half-way")
        return real(*arguments)

    real = roster_undoing._placed
    monkeypatch.setattr(roster_undoing, "_placed", fail_once)
    work()
    assert used() == 8 - CHUNK
    assert rows("SELECT position, failures FROM job WHERE kind = 'undo_import'") == [(CHUNK, 1)]
    work()
    assert (used(), codes(taken_back)) == (0, ["withdrawn"] * 8)


def test_a_worker_that_is_asked_to_stop_leaves_the_rest_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_back = undo(imported(*"abcdefgh"))

    def stop(*arguments: Any) -> Any:
        claimer.STOPPING.set()
        return real(*arguments)

    real = roster_undoing._placed
    with monkeypatch.context() as stopping:
        stopping.setattr(roster_undoing, "_placed", stop)
        work()
    assert (used(), rows("SELECT state FROM job WHERE kind = 'undo_import'")) == (8 - CHUNK, [("queued",)])
    claimer.STOPPING.clear()
    work()
    assert (used(), codes(taken_back)) == (0, ["withdrawn"] * 8)


def test_no_mail_is_sent_when_the_manager_opts_out() -> None:
    undo(imported("a", "b"), notify=False)
    work()
    assert (used(), rows("SELECT count(*) FROM email WHERE kind = 'withdrawal'")) == (0, [(0,)])


def test_these_imports_cannot_be_undone() -> None:
    first = imported("a")
    with transaction() as session:
        session.execute(text("UPDATE job SET finished_at = NULL WHERE kind = 'import_roster'"))
    going_on = undo(first, "one")
    work()
    with transaction() as session:
        session.execute(text("UPDATE job SET finished_at = now() WHERE kind = 'import_roster'"))
        session.execute(text("UPDATE roster SET portal_id = gen_random_uuid()"))
    foreign = undo(first, "two")
    work()
    assert [(job(one)["state"], job(one)["result"]["code"]) for one in (going_on, foreign)] == [
        ("refused", "not_finished"),
        ("refused", "not_found"),
    ]
    assert used() == 1


def test_a_dry_run_has_nothing_to_take_back() -> None:
    taken_back = undo(imported("a", dry_run=True))
    work()
    shown = job(taken_back)
    assert (shown["state"], shown["result"]["counts"], shown["progress"]["percent"]) == ("succeeded", {}, 100)


def test_a_person_enrolled_again_since_stays() -> None:
    first = imported("a", "b")
    undo(first)
    work()
    second = imported("a", "b", key="second")
    again = undo(first, "again")
    work()
    assert codes(second) == ["attached", "attached"]
    assert codes(again) == ["already_withdrawn"] * 2
    assert used() == 2
