"""The purge works in parts, skips locked rows, and acts once."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.retention import RetentionClass, first_id
from tests.kit.actors.committed_jobs import claimed, done_twice, fail_half_way
from tests.kit.builders.contracts import query
from tests.kit.builders.rows_by_age import at_age, mail
from tests.kit.processes.support import change, rows, wait_until
from tests.kit.races.racers import waiting_for_a_lock
from workers.actors.registry import do_jobs
from workers.database import Session, transaction, wait_briefly_for_locks
from workers.engine import ledger
from workers.engine.acceptance import accept_internal
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS, queues_to_wake
from workers.errors import InvalidRequest
from workers.imports.acceptance import accept_import, digest_of
from workers.imports.files import store_file
from workers.people import retention
from workers.people.retention import STATEMENTS, purge, purge_job
from workers.requests.imports import ImportRoster
from workers.requests.internal import Purge
from workers.requests.queues import Queue


def purged(session: Session) -> list[tuple[Any, ...]]:
    claimed = ledger.claim(session, JOBS, Queue.MAINTENANCE, size=1, lease=30, worker=new_id())
    ledger.finish(session, JOBS, do_jobs(session, claimed))
    return query(session, "SELECT CAST(result AS text) LIKE '%\"more\": true%' FROM job WHERE kind = 'purge'"
                          " AND finished_at IS NOT NULL ORDER BY id")  # fmt: skip


def test_in_parts_and_a_full_one_owes_the_next(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = at_age(session, timedelta(days=40))
    for _ in range(5):
        mail(session, moment)
    monkeypatch.setattr(retention, "PART", 2)
    session.execute(text("INSERT INTO job (id, portal_id, kind, queue, lane, state, request, due_at)"
                         " VALUES (:id, :portal, 'purge', 'maintenance', :id, 'queued', '{}', now())"),
                    {"id": new_id(), "portal": LOCAL_PORTAL_ID})  # fmt: skip
    assert purged(session) == [(True,)]
    assert queues_to_wake(session) == {Queue.MAINTENANCE}
    assert query(session, "SELECT count(*) FROM email WHERE context IS NULL") == [(2,)]
    assert purged(session) == [(True,), (True,)]
    assert purged(session) == [(True,), (True,), (False,)]
    assert query(session, "SELECT count(*) FROM email WHERE context IS NOT NULL") == [(0,)]
    [(first,)] = query(session, "SELECT id FROM job WHERE kind = 'purge' ORDER BY id LIMIT 1")
    keys = query(session, "SELECT key FROM idempotency ORDER BY created_at, key")
    assert (f"follow-up:{first}",) in keys
    assert (len(keys), query(session, "SELECT count(*) FROM job WHERE finished_at IS NULL")) == (2, [(0,)])


def test_files_go_in_smaller_parts_and_a_full_one_owes_the_next(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = at_age(session, timedelta(days=100))
    session.execute(text("INSERT INTO roster_file (portal_id, sha256, size, used_at)"
                         " SELECT :p, sha256(CAST(CAST(n AS text) AS bytea)), 1, :at FROM generate_series(1, 250) n"),
                    {"p": LOCAL_PORTAL_ID, "at": long_ago})  # fmt: skip
    left = []
    for _ in range(3):
        request = Purge()
        asked = accept_internal(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=str(new_id())).job_id
        _, result = purge_job(session, LOCAL_PORTAL_ID, asked, request)
        left.append((query(session, "SELECT count(*) FROM roster_file"), result["more"]))
    assert left == [([(150,)], True), ([(50,)], True), ([(0,)], False)]


def test_a_file_that_is_just_asked_for_is_not_taken(fresh_database: str) -> None:
    with transaction() as session:
        sha256 = store_file(session, LOCAL_PORTAL_ID, io.BytesIO(b"Nom;"))
        session.execute(text("UPDATE roster_file SET used_at = now() - interval '100 days'"))
    request = ImportRoster(contract="C-1", file=sha256, file_name="liste.csv")
    with transaction() as asking:
        accept_import(asking, LOCAL_PORTAL_ID, request, key="one")
        with transaction() as session:
            wait_briefly_for_locks(session)
            assert purge(session)[RetentionClass.ROSTER_FILE] == 0
    change("UPDATE job SET finished_at = now(), due_at = NULL, state = 'succeeded'")
    with transaction() as session:
        assert purge(session)[RetentionClass.ROSTER_FILE] == 0  # just used
    change("UPDATE roster_file SET used_at = now() - interval '91 days'")
    with transaction() as session:
        assert purge(session)[RetentionClass.ROSTER_FILE] == 1
    with transaction() as session, pytest.raises(InvalidRequest):
        accept_import(session, LOCAL_PORTAL_ID, request, key="two")


def test_two_requests_for_one_file_wait_for_each_other_and_do_not_fail(fresh_database: str) -> None:
    """Both lock the file first, so that neither holds a lock the other needs."""
    file = io.BytesIO(b"Nom;")
    request = ImportRoster(contract="C-1", file=digest_of(file), file_name="liste.csv")
    with transaction() as session:
        store_file(session, LOCAL_PORTAL_ID, file)

    def ask() -> UUID:
        with transaction() as session:
            return accept_import(session, LOCAL_PORTAL_ID, request, key="two").job_id

    with ThreadPoolExecutor(1) as pool:
        with transaction() as first:
            store_file(first, LOCAL_PORTAL_ID, file)
            second = pool.submit(ask)
            wait_until(waiting_for_a_lock(1))
            accepted = accept_import(first, LOCAL_PORTAL_ID, request, key="one")
        assert second.result(30) == accepted.job_id


def test_old_rows_are_found_by_their_key_and_nothing_else_is_read(session: Session) -> None:
    session.execute(
        text("INSERT INTO job (id, portal_id, kind, queue, lane, state, request, finished_at)"
             " SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM now()) * 1000 AS bigint) - n), 12, '0') ||"
             " '70008000000000000000' AS uuid), :portal, 'enroll', 'enrollments', :portal, 'succeeded', '{}', now()"
             " FROM generate_series(1, 20000) n"),
        {"portal": LOCAL_PORTAL_ID},
    )  # fmt: skip
    session.execute(text("ANALYZE job"))
    until = datetime.now(UTC) - timedelta(days=90)
    plan = query(session, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {STATEMENTS[RetentionClass.REQUEST].text}",
                 until=until, first=first_id(until), part=10_000)[0][0]  # fmt: skip
    found = json.dumps(plan)
    assert ("pk_job" in found, "Seq Scan" in found) == (True, False)
    assert plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"] < 10


def committed_purge() -> None:
    """Runs a purge that finds several parts of one kind of row."""
    with transaction() as session:
        for _ in range(3):
            mail(session, at_age(session, timedelta(days=40)))
        request = Purge()
        accept_internal(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="schedule:purge")


def test_run_twice_it_owes_the_next_part_once(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PART", 2)
    committed_purge()
    taken = claimed(Queue.MAINTENANCE)
    done_twice(taken)
    assert rows("SELECT count(*) FROM job WHERE finished_at IS NULL") == [(1,)]
    assert rows("SELECT count(*) FROM email WHERE context IS NULL") == [(2,)]


def test_a_purge_that_fails_half_way_leaves_everything(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PART", 2)
    committed_purge()
    fail_half_way(monkeypatch, retention, "owe_successor", Queue.MAINTENANCE)
    assert rows("SELECT count(*) FROM email WHERE context IS NULL") == [(0,)]
    assert BatchRun(JOBS, do_jobs).run(claimed(Queue.MAINTENANCE))
    assert rows("SELECT count(*) FROM email WHERE context IS NULL") == [(2,)]


def test_a_locked_row_is_skipped_until_the_next_run(fresh_database: str) -> None:
    with transaction() as session:
        held, free = (mail(session, at_age(session, timedelta(days=40))) for _ in range(2))
    with transaction() as holder_of_it:
        query(holder_of_it, "SELECT 1 FROM email WHERE id = :id FOR NO KEY UPDATE", id=held)
        with transaction() as session:
            wait_briefly_for_locks(session)
            assert purge(session)[RetentionClass.MAIL_WORDS] == 1
    assert rows("SELECT id FROM email WHERE context IS NULL") == [(free,)]
    with transaction() as session:
        assert purge(session)[RetentionClass.MAIL_WORDS] == 1
