"""What is kept how long: just before its time nothing happens, just after it is gone; what has not ended stays."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.certificate import CertificateFile
from models.portal import LOCAL_PORTAL_ID
from models.retention import RETENTION, Matter, first_id
from tests.accounts import make_account
from tests.committed import claimed, fail_half_way, state_of_things
from tests.contracts import add_contract, enrolled, everything, query
from tests.support import change, rows, wait_until
from workers import ledger
from workers.actors.claimer import BatchRun
from workers.database import Session, transaction, wait_briefly_for_locks
from workers.errors import InvalidRequest
from workers.internal_requests import Purge
from workers.ledger import JOBS, bells
from workers.queues import Queue
from workers.roster_requests import ImportRoster
from workers.services import retention
from workers.services.acceptance import accept_internal
from workers.services.jobs import do_jobs
from workers.services.retention import STATEMENTS, purge, purge_job
from workers.services.roster_acceptance import accept_import, digest_of
from workers.services.roster_files import store_file

WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
MARGIN: Final = timedelta(minutes=5)

JOB = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, message, result, created_at, finished_at, due_at,
      leased_until)
    VALUES (:id, :portal, :kind, 'enrollments', :id, CAST(:state AS text), CAST(:request AS json), :message,
      CAST(:result AS json), :at, CASE WHEN :ended THEN CAST(:at AS timestamptz) END,
      CASE WHEN NOT :ended AND NOT :unserved THEN CAST(:at AS timestamptz) END,
      CASE WHEN CAST(:state AS text) = 'running' THEN CAST(:at AS timestamptz) END)"""

EMAIL = """
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
      context, result, error, created_at, finished_at, due_at)
    VALUES (:id, 'invitation', 'emails', :id, CAST(:id AS text), :to_address, 'fr', '<a@b>', :at, :at, :state,
      CAST(:context AS json), CAST(:result AS json), CAST(:error AS json), :at,
      CASE WHEN :ended THEN CAST(:at AS timestamptz) END, CASE WHEN NOT :ended THEN CAST(:at AS timestamptz) END)"""

ERROR = '{"class": "failed", "reason": "recipient_refused", "message": "RCPT 550 \\u0000 \\"reason\\": \\"x\\""}'


def at_age(session: Session, age: timedelta) -> datetime:
    [(now,)] = query(session, "SELECT now()")
    return now - age  # type: ignore[no-any-return]


def id_of(moment: datetime) -> UUID:
    """An identifier made at that moment."""
    return UUID(int=first_id(moment).int | (new_id().int & ((1 << 80) - 1)))


def insert(session: Session, statement: str, moment: datetime, values: dict[str, Any]) -> UUID:
    row_id = id_of(moment)
    session.execute(text(statement), {"id": row_id, "at": moment, "ended": True} | values)
    return row_id


def job(session: Session, moment: datetime, **values: Any) -> UUID:
    given = {"portal": LOCAL_PORTAL_ID, "kind": "enroll", "state": "succeeded", "request": "{}", "message": None,
             "result": '{"code": "exported"}', "unserved": False}  # fmt: skip
    return insert(session, JOB, moment, given | values)


def mail(session: Session, moment: datetime, **values: Any) -> UUID:
    given = {"to_address": "a@example.com", "state": "failed", "context": "{}", "result": "{}", "error": ERROR}
    return insert(session, EMAIL, moment, given | values)


def job_with_people(session: Session, moment: datetime) -> None:
    row_id = job(session, moment)
    session.execute(text("INSERT INTO job_person (job_id, position, code) VALUES (:id, 0, 'enrolled')"), {"id": row_id})


def link(session: Session, moment: datetime, how: str) -> None:
    columns = {"used": "consumed_at", "voided": "voided_at"}.get(how)
    far = moment + timedelta(days=10_000) if columns else moment
    extra = f", {columns}" if columns else ""
    session.execute(
        text(f"INSERT INTO link (id, purpose, account_id, key_id, expires_at{extra}) VALUES"
             f" (:id, 'activation', :account, 'test', :far{', :at' if columns else ''})"),
        {"id": id_of(moment - timedelta(days=30)), "account": make_account(session, f"{new_id()}@a.test"),
         "far": far, "at": moment},
    )  # fmt: skip


def correction(session: Session, moment: datetime, state: str = "applied") -> None:
    session.execute(
        text("INSERT INTO email_correction (id, account_id, portal_id, job_id, old_email, new_email, state, ended_at)"
             " VALUES (:id, :account, :id, :id, 'a@a.test', 'b@a.test', CAST(:state AS text),"
             " CASE WHEN CAST(:state AS text) <> 'pending' THEN CAST(:at AS timestamptz) END)"),
        {"id": id_of(moment), "account": make_account(session, f"{new_id()}@a.test"), "at": moment, "state": state},
    )  # fmt: skip


def holder(session: Session, moment: datetime) -> None:
    kept = moment + timedelta(days=0)
    session.execute(text("INSERT INTO certificate_holder VALUES (:id, 'Anne', 'Lorval', :at)"),
                    {"id": new_id(), "at": kept})  # fmt: skip


def audit(session: Session, moment: datetime) -> None:
    session.execute(
        text("INSERT INTO audit (action, at, requested_by, result) VALUES ('retry', :at, '', 'done')"), {"at": moment}
    )


def roster_file(session: Session, moment: datetime) -> None:
    session.execute(text("INSERT INTO roster_file (portal_id, sha256, size, used_at) VALUES (:p, :sha, 1, :at)"),
                    {"p": LOCAL_PORTAL_ID, "sha": b"x" * 32, "at": moment})  # fmt: skip
    session.execute(text("INSERT INTO roster_part VALUES (:p, :sha, 0, 'x')"), {"p": LOCAL_PORTAL_ID, "sha": b"x" * 32})


def roster(session: Session, moment: datetime, *, done: bool = True) -> None:
    job_id = job(session, moment, kind="import_roster", ended=done, state="succeeded" if done else "queued")
    session.execute(
        text("INSERT INTO roster (job_id, portal_id, fingerprint, sha256, file_name, reading)"
             " VALUES (:id, :p, '', :sha, 'équipe.csv', '{}')"), {"id": job_id, "p": LOCAL_PORTAL_ID, "sha": b"x" * 32},
    )  # fmt: skip


def inbox_file(session: Session, moment: datetime) -> None:
    session.execute(text("INSERT INTO inbox_file (inbox_id, name, version, put_away_at) VALUES (:id, 'x', '1', :at)"),
                    {"id": new_id(), "at": moment})  # fmt: skip


def roster_address(session: Session, moment: datetime) -> None:
    job_id = job(session, moment, kind="import_roster", state="dead")
    session.execute(text("INSERT INTO roster_address VALUES (:id, :id)"), {"id": job_id})


def duplicates_file(session: Session, moment: datetime, kind: str = "pdf") -> None:
    dropped = moment if kind == "zip" else None
    file = CertificateFile(job_id=new_id(), portal_id=LOCAL_PORTAL_ID, name="a", kind=kind, sha256="x", size=1,
                           key_id="k", created_at=moment, expires_at=moment, dropped_at=dropped)  # fmt: skip
    session.add(file)
    session.flush()


class Case(NamedTuple):
    """One line of the table.

    Parameters:
      make: a row that ended at a moment.
      left: what a query says of it while it is kept, and when it was ended.
    """

    matter: Matter
    make: Any
    query: str
    before: Any
    after: Any


GONE: Final[list[Any]] = []
CASES: Final = [
    Case(Matter.REQUEST, job, "SELECT request IS NULL, result IS NULL FROM job", [(False, False)], [(True, False)]),
    Case(Matter.REQUEST, lambda s, at: job(s, at, request=None, message=b"?", state="refused"),
         "SELECT message IS NULL FROM job", [(False,)], [(True,)]),
    Case(Matter.DEAD_REQUEST, lambda s, at: job(s, at, state="dead"), "SELECT request IS NULL FROM job",
         [(False,)], [(True,)]),
    Case(Matter.EXPORT, lambda s, at: job(s, at, kind="export_person"),
         "SELECT result IS NULL, request IS NULL FROM job", [(False, False)], [(True, False)]),
    Case(Matter.JOB, job, "SELECT 1 FROM job", [(1,)], GONE),
    Case(Matter.PEOPLE, job_with_people, "SELECT 1 FROM job_person", [(1,)], GONE),
    Case(Matter.JOB, job_with_people, "SELECT 1 FROM job", [(1,)], GONE),
    Case(Matter.MAIL_WORDS, mail, "SELECT context IS NULL, result IS NULL, to_address, CAST(error AS text) FROM email",
         [(False, False, "a@example.com", ERROR)],
         [(True, True, "a@example.com", '{"class" : "failed", "reason" : "recipient_refused"}')]),
    Case(Matter.MAIL_ADDRESS, mail, "SELECT to_address FROM email", [("a@example.com",)], [("",)]),
    Case(Matter.MAIL, mail, "SELECT 1 FROM email", [(1,)], GONE),
    *(Case(Matter.LINK, lambda s, at, how=how: link(s, at, how), "SELECT 1 FROM link", [(1,)], GONE)
      for how in ("used", "voided", "expired")),
    Case(Matter.CORRECTION, correction, "SELECT old_email, new_email, state FROM email_correction",
         [("a@a.test", "b@a.test", "applied")], [("", "", "applied")]),
    Case(Matter.ROSTER_FILE, roster_file, "SELECT 1 FROM roster_part", [(1,)], GONE),
    Case(Matter.ROSTER_NAME, roster, "SELECT file_name, reading IS NULL FROM roster",
         [("équipe.csv", False)], [("", True)]),
    Case(Matter.ROSTER, roster, "SELECT 1 FROM roster", [(1,)], GONE),
    Case(Matter.ROSTER_ADDRESS, roster_address, "SELECT 1 FROM roster_address", [(1,)], GONE),
    Case(Matter.INBOX_FILE, inbox_file, "SELECT 1 FROM inbox_file", [(1,)], GONE),
    *(Case(Matter.ROUTINE, lambda s, at, kind=kind: job(s, at, kind=kind), "SELECT 1 FROM job", [(1,)], GONE)
      for kind in ("scan_inboxes", "purge", "reconcile_seats")),
    *(Case(Matter.DUPLICATES_FILE, lambda s, at, kind=kind: duplicates_file(s, at, kind),
           "SELECT 1 FROM certificate_file", [(1,)], GONE) for kind in ("pdf", "zip")),
    Case(Matter.AUDIT, audit, "SELECT 1 FROM audit", [(1,)], GONE),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.matter)
def test_just_before_its_time_it_is_kept_and_just_after_it_is_not(session: Session, case: Case) -> None:
    [(keeps,)] = query(session, "SELECT now() - (now() - CAST(:keeps AS interval))", keeps=RETENTION[case.matter].keeps)
    point = session.begin_nested()
    case.make(session, at_age(session, keeps - MARGIN))
    changed = purge(session)
    assert query(session, case.query) == case.before
    assert changed[case.matter] == 0
    point.rollback()
    case.make(session, at_age(session, keeps + MARGIN))
    assert purge(session)[case.matter] == 1
    assert query(session, case.query) == case.after
    again = everything(session)
    assert set(purge(session).values()) == {0}
    assert everything(session) == again


@pytest.mark.parametrize(("age", "left"), [(-MARGIN, [(1,)]), (MARGIN, GONE)])
def test_names_on_certificates_are_kept_until_the_day_written_beside_them(
    session: Session, age: timedelta, left: list[Any]
) -> None:
    holder(session, at_age(session, age))
    purge(session)
    assert query(session, "SELECT 1 FROM certificate_holder") == left


def test_what_has_not_ended_stays_whatever_its_age(session: Session) -> None:
    moment = at_age(session, timedelta(days=4_000))
    job(session, moment, state="queued", ended=False)
    job(session, moment, state="queued", ended=False, unserved=True)
    job(session, moment, state="running", ended=False)
    job(session, moment, state="queued", ended=False, kind="export_person")
    for state in ("owed", "uncertain", "sending"):
        mail(session, moment, state=state, ended=False)
    correction(session, moment, "pending")
    roster_file(session, moment)
    roster(session, moment, done=False)
    open_job = job(session, moment, state="queued", ended=False)
    session.execute(text("INSERT INTO job_person (job_id, position, code) VALUES (:id, 0, 'x')"), {"id": open_job})
    session.execute(text("INSERT INTO roster_address VALUES (:id, :id)"), {"id": open_job})
    account = make_account(session)
    session.execute(text("INSERT INTO link (id, purpose, account_id, key_id, expires_at) VALUES"
                         " (:id, 'activation', :account, 'test', now() - interval '1 day')"),
                    {"id": id_of(moment), "account": account})  # fmt: skip
    before = everything(session)
    assert set(purge(session).values()) == {0}
    assert everything(session) == before


def test_people_and_their_trainings_are_no_matter_of_time(session: Session) -> None:
    add_contract(session)
    enrolled(session, "a", "b")
    before = everything(session)
    assert set(purge(session).values()) == {0}
    assert everything(session) == before


def test_a_young_audit_entry_ends_the_search_and_old_ones_behind_it_wait(session: Session) -> None:
    old = at_age(session, timedelta(days=3_000))
    for moment in (old, old, at_age(session, timedelta(0)), old):
        audit(session, moment)
    assert purge(session)[Matter.AUDIT] == 2


def test_every_matter_has_its_statement() -> None:
    assert set(STATEMENTS) == set(RETENTION)


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
    assert bells(session) == {Queue.MAINTENANCE}
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
            assert purge(session)[Matter.ROSTER_FILE] == 0
    change("UPDATE job SET finished_at = now(), due_at = NULL, state = 'succeeded'")
    with transaction() as session:
        assert purge(session)[Matter.ROSTER_FILE] == 0  # used a moment ago
    change("UPDATE roster_file SET used_at = now() - interval '91 days'")
    with transaction() as session:
        assert purge(session)[Matter.ROSTER_FILE] == 1
    with transaction() as session, pytest.raises(InvalidRequest):
        accept_import(session, LOCAL_PORTAL_ID, request, key="two")


def test_two_that_ask_for_one_file_in_either_way_wait_for_each_other_and_do_not_fail(fresh_database: str) -> None:
    """Both hold the file first, so that neither has what the other waits for."""
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
            wait_until(lambda: rows(WAITING))
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
    plan = query(session, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {STATEMENTS[Matter.REQUEST].text}",
                 until=until, first=first_id(until), part=10_000)[0][0]  # fmt: skip
    found = json.dumps(plan)
    assert ("pk_job" in found, "Seq Scan" in found) == (True, False)
    assert plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"] < 10


def committed_purge() -> None:
    """A purge that finds more than one part of it may end."""
    with transaction() as session:
        for _ in range(3):
            mail(session, at_age(session, timedelta(days=40)))
        request = Purge()
        accept_internal(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="schedule:purge")


def test_run_twice_it_owes_the_next_part_once(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PART", 2)
    committed_purge()
    taken = claimed(Queue.MAINTENANCE)
    assert BatchRun(JOBS, do_jobs).run(taken)
    before = state_of_things()
    assert BatchRun(JOBS, do_jobs).run(taken)
    assert state_of_things() == before
    assert rows("SELECT count(*) FROM job WHERE finished_at IS NULL") == [(1,)]
    assert rows("SELECT count(*) FROM email WHERE context IS NULL") == [(2,)]


def test_a_purge_that_fails_half_way_leaves_everything(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PART", 2)
    committed_purge()
    fail_half_way(monkeypatch, retention, "accept_internal", Queue.MAINTENANCE)
    assert rows("SELECT count(*) FROM email WHERE context IS NULL") == [(0,)]
    assert BatchRun(JOBS, do_jobs).run(claimed(Queue.MAINTENANCE))
    assert rows("SELECT count(*) FROM email WHERE context IS NULL") == [(2,)]


def test_a_row_somebody_holds_is_passed_over_until_the_next_run(fresh_database: str) -> None:
    with transaction() as session:
        held, free = (mail(session, at_age(session, timedelta(days=40))) for _ in range(2))
    with transaction() as holder_of_it:
        query(holder_of_it, "SELECT 1 FROM email WHERE id = :id FOR NO KEY UPDATE", id=held)
        with transaction() as session:
            wait_briefly_for_locks(session)
            assert purge(session)[Matter.MAIL_WORDS] == 1
    assert rows("SELECT id FROM email WHERE context IS NULL") == [(free,)]
    with transaction() as session:
        assert purge(session)[Matter.MAIL_WORDS] == 1
