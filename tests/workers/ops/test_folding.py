"""Ended work is counted by minute, by hour and in total; totals do not fall when rows are purged or retried."""

import threading
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.counts import BANDS
from models.portal import LOCAL_PORTAL_ID
from tests.kit.processes.support import change, rows
from workers.clock import count_beside
from workers.database import Session, transaction
from workers.ops.folding import COUNT_ARRIVED, FOLDED_MINUTES, count_as_leader, fold_ended, sample_depth
from workers.ops.snapshot import read_snapshot

ENDED = text("""
    INSERT INTO job (id, portal_id, kind, queue, lane, state, created_at, started_at, finished_at)
    VALUES (:id, :portal, :kind, :queue, :id, :state, now() - CAST(:ago AS interval) - CAST(:took AS interval),
      now() - CAST(:ago AS interval) - CAST(:ran AS interval), now() - CAST(:ago AS interval))""")

SENT = text("""
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
      job_id, created_at, started_at, finished_at)
    VALUES (:id, 'invitation', 'emails', :id, CAST(:id AS text), '', 'fr', '', now(), now(), 'sent', :job,
      now() - interval '1 s', now(), now())""")


def ended(
    session: Session,
    state: str = "succeeded",
    *,
    kind: str = "enroll",
    queue: str = "enrollments",
    ago: str = "0 s",
    took: str = "2 s",
    ran: str = "0.5 s",
) -> Any:
    row_id = new_id()
    values = {"id": row_id, "portal": LOCAL_PORTAL_ID, "kind": kind, "queue": queue, "state": state}
    session.execute(ENDED, values | {"ago": ago, "took": took, "ran": ran})
    return row_id


def totals(session: Session) -> dict[tuple[Any, ...], int]:
    found = session.execute(text("SELECT ledger, queue, kind, state, rows FROM ledger_total ORDER BY 1, 2, 3, 4"))
    return {tuple(row[:4]): row[4] for row in found}


def fold(session: Session, minutes: int = FOLDED_MINUTES) -> None:
    assert fold_ended(session, minutes=minutes)


DONE = ("job", "enrollments", "enroll", "succeeded")
DEAD = ("job", "enrollments", "enroll", "dead")


def test_ended_work_is_counted_once_however_often_it_is_folded(session: Session) -> None:
    for _ in range(3):
        ended(session)
    ended(session, "dead")
    for _ in range(3):
        fold(session)
    assert totals(session) == {DONE: 3, DEAD: 1}
    ended(session)
    fold(session, minutes=1)
    assert totals(session) == {DONE: 4, DEAD: 1}
    kept = session.execute(text("SELECT sum(rows) FROM ledger_minute")).scalar_one()
    assert kept == 5


def test_waiting_and_running_times_are_kept_in_bands(session: Session) -> None:
    ended(session, took="2 s", ran="0.5 s")
    ended(session, took="2 hours", ran="0.2 s")
    fold(session)
    found = session.execute(
        text("SELECT sum(wait_ms), sum(run_ms), sum(took_ms), sum(waited[4]), sum(waited[9]) FROM ledger_minute")
    ).one()
    assert tuple(found) == (1_500 + 7_199_800, 700, 7_202_000, 1, 1)
    [(took, took_ms)] = session.execute(text("SELECT took, took_ms FROM ledger_total")).all()
    assert (took, took_ms) == ([0, 0, 0, 1, 0, 0, 0, 0, 1], 7_202_000)
    assert len(took) == BANDS


def test_a_retried_job_that_dies_again_died_twice(session: Session) -> None:
    job = ended(session, "dead", ago="2 minutes")
    fold(session)
    session.execute(text("UPDATE job SET state = 'queued', finished_at = NULL WHERE id = :id"), {"id": job})
    fold(session)
    assert totals(session) == {DEAD: 1}
    session.execute(text("UPDATE job SET state = 'dead', finished_at = now() WHERE id = :id"), {"id": job})
    fold(session)
    assert totals(session) == {DEAD: 2}


def test_what_is_purged_stays_counted(session: Session) -> None:
    ended(session)
    fold(session)
    session.execute(text("DELETE FROM job"))
    session.execute(text("DELETE FROM ledger_minute"))
    fold(session)
    assert totals(session) == {DONE: 1}


def test_what_ended_while_no_clock_counted_is_made_up(session: Session) -> None:
    ended(session, ago="3 hours")
    fold(session)
    ended(session, ago="2 hours")
    ended(session, ago="50 minutes")
    fold(session, minutes=1)
    assert totals(session) == {DONE: 3}


def test_a_mail_is_timed_from_the_request_that_owed_it(session: Session) -> None:
    """The identifier of a job tells when it was recorded: here a minute before the mail was sent."""
    now = session.execute(text("SELECT now()")).scalar_one()
    assert isinstance(now, datetime)
    asked = int((now.astimezone(UTC).timestamp() - 60) * 1000)
    job = f"{asked:012x}"
    session.execute(SENT, {"id": new_id(), "job": f"{job[:8]}-{job[8:]}-7000-8000-000000000000"})
    session.execute(SENT, {"id": new_id(), "job": "018f4c3a-9d1e-4c11-b2aa-0123456789ab"})  # not of version 7
    session.execute(SENT, {"id": new_id(), "job": None})
    fold(session)
    [(rows_of, took_ms, took)] = session.execute(text("SELECT rows, took_ms, took FROM ledger_total")).all()
    assert (rows_of, took[2], took[5]) == (3, 2, 1)
    assert took_ms == pytest.approx(62_000, abs=2)


def test_how_much_waits_and_came_is_sampled(session: Session) -> None:
    session.execute(
        text("""
            INSERT INTO job (id, portal_id, kind, queue, lane, state, due_at)
            SELECT gen_random_uuid(), :portal, 'enroll', 'enrollments', gen_random_uuid(), 'queued',
              now() - interval '9 s' FROM generate_series(1, 3)"""),
        {"portal": LOCAL_PORTAL_ID},
    )
    sample_depth(session)
    sample_depth(session)
    found = session.execute(text("SELECT ledger, queue, waiting, oldest_seconds FROM ledger_depth")).all()
    assert [tuple(row) for row in found] == [("job", "enrollments", 3, 9)]


def test_what_came_is_counted_for_whole_minutes(session: Session) -> None:
    begun = session.execute(text("SELECT date_trunc('minute', now())")).scalar_one().timestamp()
    for before in (0.001, 59.0, 61.0, 200.0, -0.001):
        stamp = f"{int((begun - before) * 1000):012x}"
        session.execute(
            ENDED,
            {"id": f"{stamp[:8]}-{stamp[8:]}-7000-8000-000000000000", "portal": LOCAL_PORTAL_ID, "kind": "enroll"}
            | {"queue": "enrollments", "state": "succeeded", "ago": "0 s", "took": "0 s", "ran": "0 s"},
        )
    session.execute(COUNT_ARRIVED["job"], {"ledger": "job"})
    found = session.execute(text("SELECT arrived FROM ledger_depth ORDER BY minute")).all()
    assert [row[0] for row in found] == [1, 2]


@pytest.mark.usefixtures("fresh_database")
def test_the_clock_that_leads_counts_and_the_other_does_not() -> None:
    leader, other = new_id(), new_id()
    change("INSERT INTO clock (name, holder, until) VALUES ('clock', :id, now() + interval '5 s')", id=leader)
    change("INSERT INTO process (id, kind, host, pid, release) VALUES (:id, 'clock', 'h', 1, '9.9.9')", id=leader)
    with transaction() as session:
        ended(session)
    count_as_leader(other)
    assert rows("SELECT count(*) FROM ledger_total") == [(0,)]
    count_as_leader(leader)
    assert rows("SELECT (SELECT sum(rows) FROM ledger_total), (SELECT sum(rows) FROM ledger_hour)") == [(1, 1)]
    assert rows("SELECT release, first_seen_at <= last_seen_at FROM release_run") == [("9.9.9", True)]
    with transaction() as session:
        ended(session)
    count_as_leader(leader)
    assert rows("SELECT (SELECT sum(rows) FROM ledger_total), (SELECT sum(rows) FROM ledger_hour)") == [(2, 2)]


@pytest.mark.usefixtures("fresh_database")
def test_two_who_fold_at_once_count_once() -> None:
    with transaction() as session:
        ended(session)
        fold(session)
        assert read_snapshot()["totals"] == []  # another transaction, which neither waits nor counts
    assert [one["rows"] for one in rows_of_totals()] == [1]


def test_the_clock_goes_on_while_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, counted = threading.Event(), []

    def count(me: UUID) -> None:
        counted.append(me)
        assert may_end.wait(30)

    monkeypatch.setattr("workers.clock.count_as_leader", count)
    me = new_id()
    first = count_beside(me, None)
    assert count_beside(me, first) is first
    may_end.set()
    first.join()
    second = count_beside(me, first)
    second.join()
    assert (first is second, counted) == (False, [me, me])


def rows_of_totals() -> list[dict[str, Any]]:
    change("DELETE FROM status_snapshot")
    found: list[dict[str, Any]] = read_snapshot()["totals"]
    return found
