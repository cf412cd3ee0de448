"""Status tells work that is postponed again and again, and work of kinds that this release does not know."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract
from tests.kit.builders.ledgers import lane, owe
from workers.database import Session
from workers.engine.ledger import EMAILS, JOBS, Claimed, Ledger
from workers.ops import status as looking
from workers.ops.pauses import PauseTarget, pause_queue, resume_queue
from workers.ops.unrecorded import UnrecordedRequests
from workers.requests.base import lane_id

QUEUES = ("requests", "enrollments", "rosters", "certificates", "certificates_bulk", "emails", "emails_bulk")

LOCKED = '{"class": "OperationalError", "reason": "locked"}'
SETTING = '{"class": "NotConfigured", "message": "LINK_KEYS is empty"}'

SET_BACK = {
    ledger.table: text(f"""
        UPDATE {ledger.table} SET postponements = 5, postponed_at = now(), claim = 5, error = CAST(:error AS json),
          due_at = now() + interval '5 s' WHERE id = :id""")
    for ledger in (JOBS, EMAILS)
}


@pytest.fixture(autouse=True)
def _everything_runs(session: Session) -> None:
    leader = new_id()
    kinds = {leader: "clock", new_id(): " ".join([*QUEUES, "maintenance"])}
    for process, kind in kinds.items():
        session.execute(
            text("INSERT INTO process (id, kind, host, pid) VALUES (:id, :kind, 'here', 1)"),
            {"id": process, "kind": kind},
        )
    session.execute(
        text("INSERT INTO clock (name, holder, until) VALUES ('clock', :id, now() + interval '5 s')"), {"id": leader}
    )


def problems(session: Session) -> list[dict[str, Any]]:
    status = looking.read_status(session, UnrecordedRequests(0, None))
    assert status["healthy"] is (not status["problems"])
    return list(status["problems"])


def recorded(session: Session, table: str, seconds: int) -> None:
    """Makes all rows as old as this; what is due has been due for as long."""
    session.execute(
        text(f"""UPDATE {table} SET created_at = now() - make_interval(secs => :seconds),
          postponed_at = CASE WHEN postponed_at IS NOT NULL THEN now() - make_interval(secs => :seconds) END,
          due_at = CASE WHEN due_at > now() THEN due_at ELSE now() - make_interval(secs => :seconds) END"""),
        {"seconds": seconds},
    )


def postponed_lane(session: Session, count: int, *, error: str = LOCKED, queue: str = "enrollments") -> str:
    """Owes this many jobs of a contract, the first of which is postponed; returns its identifier."""
    place = lane_id(LOCAL_PORTAL_ID, "contract:C-1")
    asked = '{"contract": "C-1", "people": []}'
    made = [owe(session, JOBS, lane=place, queue=queue, request=asked) for _ in range(count)]
    session.execute(SET_BACK["job"], {"id": made[0], "error": error})
    return str(made[0])


def test_twenty_jobs_behind_a_held_contract_are_a_problem(session: Session) -> None:
    add_contract(session)
    first = postponed_lane(session, 20)
    recorded(session, "job", 9)
    assert problems(session) == []
    recorded(session, "job", 11)
    [problem] = problems(session)
    assert {key: problem[key] for key in ("code", "subject", "count", "seconds")} == {
        "code": "lane_held",
        "subject": "enrollments",
        "count": 20,
        "seconds": 11.0,
    }
    [row] = problem["rows"]
    assert (row["id"], row["kind"], row["class"], row["reason"]) == (first, "put_company", "OperationalError", "locked")
    assert (row["contract"], row["waiting"], row["seconds"]) == ("C-1", 20, 11.0)


def test_of_a_lane_that_is_paused_only_the_pause_is_told(session: Session) -> None:
    add_contract(session)
    postponed_lane(session, 20)
    recorded(session, "job", 11)
    pause = PauseTarget("enrollments", ["C-1"], "local")
    pause_queue(session, pause, end=timedelta(hours=1), requested_by="shell:anne", reason="a repair")
    [problem] = problems(session)
    assert (problem["code"], problem["count"]) == ("queue_paused", 20)
    resume_queue(session, pause, requested_by="shell:anne", reason="repaired")
    assert [one["code"] for one in problems(session)] == ["lane_held"]


def test_it_is_a_problem_also_while_it_is_tried_again(session: Session) -> None:
    postponed_lane(session, 1)
    recorded(session, "job", 75)
    session.execute(text("UPDATE job SET leased_until = now() + interval '30 s', state = 'running'"))
    assert [problem["code"] for problem in problems(session)] == ["lane_held"]


def test_a_lane_beside_a_postponed_one_may_still_be_late(session: Session) -> None:
    postponed_lane(session, 2)
    owe(session, JOBS, lane=lane(2))
    recorded(session, "job", 75)
    assert [(one["code"], one["count"]) for one in problems(session)] == [("late", 2), ("lane_held", 2)]


@pytest.mark.parametrize(("seconds", "codes"), [(899, []), (901, ["postponed"])])
def test_bulk_queues_may_wait_for_fifteen_minutes(session: Session, seconds: int, codes: list[str]) -> None:
    postponed_lane(session, 3, error=SETTING, queue="rosters")
    recorded(session, "job", seconds)
    assert [problem["code"] for problem in problems(session)] == codes


def test_one_pause_of_an_old_job_is_no_problem(session: Session) -> None:
    """A job that was revived, or is done in many parts, may meet a lock once."""
    add_contract(session)
    postponed_lane(session, 1)
    recorded(session, "job", 7_200)
    session.execute(text("UPDATE job SET postponements = 1"))
    assert problems(session) == []


def test_a_job_that_waits_for_its_retry_is_not_postponed(session: Session) -> None:
    postponed_lane(session, 1)
    session.execute(text("UPDATE job SET postponements = 0, postponed_at = NULL, failures = 3"))
    recorded(session, "job", 3_000)
    assert problems(session) == []


@pytest.mark.parametrize("ledger", [JOBS, EMAILS], ids=["job", "email"])
def test_work_that_waits_for_a_setting_is_told_with_its_reason(session: Session, ledger: Ledger[Claimed]) -> None:
    row_id = owe(session, ledger, queue="emails" if ledger is EMAILS else "enrollments")
    session.execute(SET_BACK[ledger.table], {"id": row_id, "error": SETTING})
    recorded(session, ledger.table, 61)
    [problem] = problems(session)
    [row] = problem["rows"]
    assert (problem["code"], row["id"], row["class"]) == ("postponed", str(row_id), "NotConfigured")


def test_a_postponed_mail_is_told_once_whatever_its_age(session: Session) -> None:
    row_id = owe(session, EMAILS, queue="emails")
    session.execute(SET_BACK["email"], {"id": row_id, "error": '{"class": "relay_down", "reason": "timed_out"}'})
    for seconds, code in ((75, "postponed"), (3_601, "unsent")):
        recorded(session, "email", seconds)
        assert [problem["code"] for problem in problems(session)] == [code]


@pytest.mark.parametrize("ledger", [JOBS, EMAILS], ids=["job", "email"])
def test_work_of_a_kind_this_release_does_not_know_is_told(session: Session, ledger: Ledger[Claimed]) -> None:
    owe(session, ledger, kind="order_lunch", queue="maintenance", due=-59)
    assert problems(session) == []
    owe(session, ledger, kind="order_lunch", queue="maintenance", due=-61)
    assert problems(session) == [{"code": "unknown_kind", "subject": "order_lunch", "count": 1, "seconds": 61.0}]


def test_a_schedule_of_an_unknown_kind_is_told_unless_it_is_paused(session: Session) -> None:
    session.execute(text("INSERT INTO schedule (name, cron, kind) VALUES ('lunch', '0 12 * * *', 'order_lunch')"))
    assert problems(session) == [{"code": "unknown_kind", "subject": "order_lunch", "count": 1}]
    session.execute(text("UPDATE schedule SET paused = true WHERE name = 'lunch'"))
    assert problems(session) == []
