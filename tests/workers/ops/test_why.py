"""`matricule why` says in one sentence why a job or a mail waits."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.waiting import WaitingCode
from tests.kit.builders.ledgers import lane, owe
from tests.kit.processes.support import change
from tests.workers.cli.conftest import Call
from tests.workers.cli.conftest import call as call  # noqa: PLC0414 - a fixture
from workers.database import Session, transaction
from workers.engine.ledger import EMAILS, JOBS
from workers.ops.why import SENTENCES, WhyItWaits, find_why

ME = UUID(int=77)
PROCESS = "INSERT INTO process (id, kind, host, pid) VALUES (:id, :kind, 'hôte-7', 4211)"
LOCKED = '{"class": "OperationalError", "reason": "locked", "message": "x"}'


@pytest.fixture(autouse=True)
def _served(request: pytest.FixtureRequest) -> None:
    """Lets a process serve every queue, except in the tests of the command."""
    if "session" in request.fixturenames:
        session: Session = request.getfixturevalue("session")
        session.execute(text(PROCESS), {"id": ME, "kind": "enrollments emails"})


def why(session: Session, row_id: UUID) -> WhyItWaits:
    found = find_why(session, row_id)
    assert found is not None
    return found


def put(session: Session, table: str, row_id: UUID, assignments: str, **given: Any) -> None:
    session.execute(text(f"UPDATE {table} SET {assignments} WHERE id = :id"), {"id": row_id} | given)


def test_a_job_that_is_due_waits_for_its_turn(session: Session) -> None:
    owe(session, JOBS, due=-9, lane=lane(1))
    row_id = owe(session, JOBS, due=-1, lane=lane(2))
    assert why(session, row_id) == ("in_turn", "it is due, and 1 on enrollments come before it", None, None)


def test_nothing_is_known_of_another_identifier(session: Session) -> None:
    assert find_why(session, new_id()) is None


def test_a_lane_that_is_held_names_the_job_and_the_process(session: Session) -> None:
    first, second = owe(session, JOBS), owe(session, JOBS)
    put(session, "job", first, "leased_until = now() + interval '9 s', started_at = now(), worker = :me", me=ME)
    assert why(session, first)[:2] == (
        "running",
        f"it does not wait: hôte-7 (pid 4211) does it, first begun {moment(session)}",
    )
    found = why(session, second)
    assert found.code == "lane_running"
    assert f"held by job {first} on hôte-7 (pid 4211)" in found.sentence


def moment(session: Session) -> str:
    now: datetime = session.execute(text("SELECT now()")).scalar_one()
    return f"{now:%Y-%m-%d %H:%M:%S} UTC"


def test_behind_a_postponed_head_its_time_and_error_are_told(session: Session) -> None:
    first, second = owe(session, JOBS), owe(session, JOBS)
    postpone = "due_at = now() + interval '20 s', claim = 3, postponements = 3, postponed_at = now(), error = :error"
    put(session, "job", first, postpone.replace(":error", "CAST(:error AS json)"), error=LOCKED)
    head, behind = why(session, first), why(session, second)
    assert (head.code, behind.code, head.until == behind.until is not None) == ("postponed", "lane_postponed", True)
    assert head.sentence.endswith(": OperationalError locked")
    assert f"job {first}, is postponed until" in behind.sentence


def test_the_place_in_a_lane_is_told(session: Session) -> None:
    made = [owe(session, JOBS) for _ in range(37)]
    assert why(session, made[-1])[:2] == (
        "in_lane",
        "it is number 37 of its lane, whose jobs are done in order",
    )


def test_a_failure_and_a_plan_tell_their_time(session: Session) -> None:
    failed, planned = owe(session, JOBS, due=60), owe(session, JOBS, due=60, lane=lane(2))
    put(session, "job", failed, "failures = 2, error = CAST(:error AS json)", error='{"class": "KeyError"}')
    assert why(session, failed).sentence.startswith("it failed 2 times (KeyError) and is tried again at 2")
    assert (why(session, planned).code, why(session, planned).until) == ("due_later", why(session, failed).until)


def test_without_a_process_or_a_release_it_says_so(session: Session) -> None:
    row_id = owe(session, JOBS, queue="rosters")
    assert why(session, row_id).sentence == "no process serves rosters: start it"
    unknown = owe(session, JOBS, kind="order_lunch")
    assert why(session, unknown).code == "unknown_kind"
    session.execute(text("UPDATE process SET seen_at = now() - interval '11 s'"))
    assert why(session, owe(session, EMAILS, queue="emails")).code == "no_process"


PAUSE = """INSERT INTO queue_pause (id, queue, lane, reference, reason, paused_by, until)
    VALUES (:id, :queue, :lane, :reference, 'a repair', 'shell:anne', now() + make_interval(secs => :seconds))"""


def test_a_pause_is_told_with_who_made_it_and_its_end(session: Session) -> None:
    row_id, mail_id = owe(session, JOBS), owe(session, EMAILS, queue="emails", lane=lane(7))
    for one in (("enrollments", None, None, 60), ("emails", lane(7), "ACME", 90), ("emails", lane(8), "OTHER", 99)):
        given = dict(zip(("queue", "lane", "reference", "seconds"), one, strict=True))
        session.execute(text(PAUSE), given | {"id": new_id()})
    found = why(session, row_id)
    assert (found.code, found.until is not None) == ("paused", True)
    assert found.sentence.startswith("enrollments is paused by shell:anne until 2")
    assert found.sentence.endswith(" UTC: a repair")
    assert why(session, mail_id).sentence.startswith("ACME on emails is paused by shell:anne until 2")
    session.execute(text("UPDATE queue_pause SET until = now()"))
    assert [why(session, one).code for one in (row_id, mail_id)] == ["in_turn", "in_turn"]


def test_a_mail_waits_while_every_mailer_leaves_the_relay_alone(session: Session) -> None:
    row_id = owe(session, EMAILS, queue="emails")
    assert why(session, row_id).code == "in_turn"
    session.execute(text("UPDATE process SET circuit_until = now() + interval '30 s', circuit_reason = 'timed_out'"))
    found = why(session, row_id)
    assert (found.code, "(timed_out)" in found.sentence, found.until is not None) == ("relay_rests", True, True)
    session.execute(text(PROCESS), {"id": new_id(), "kind": "emails"})
    assert why(session, row_id).code == "in_turn"


def test_what_ended_waits_no_more(session: Session) -> None:
    row_id = owe(session, JOBS)
    put(session, "job", row_id, "due_at = NULL, state = 'dead', finished_at = now()")
    assert why(session, row_id)[:2] == ("ended", f"it does not wait: it is dead since {moment(session)}")


COUNTED = text("""
    INSERT INTO ledger_minute (ledger, minute, queue, kind, state, rows, waited, took)
    SELECT 'job', date_trunc('minute', now()) - make_interval(mins => n), 'enrollments', 'enroll', 'succeeded', 30,
      '{}', '{}' FROM unnest(ARRAY[1, 2, 16]) n""")


def test_the_estimate_is_the_rate_of_the_last_fifteen_minutes(session: Session) -> None:
    """Sixty jobs ended in fifteen minutes: one each fifteen seconds. Two are ahead."""
    for number in (1, 2):
        owe(session, JOBS, due=-9, lane=lane(number))
    row_id = owe(session, JOBS, due=-1, lane=lane(3))
    session.execute(COUNTED)
    now = session.execute(text("SELECT now()")).scalar_one()
    assert why(session, row_id).estimate_at == now + timedelta(seconds=45)
    put(session, "job", row_id, "due_at = now() + interval '60 s'")
    assert why(session, row_id).estimate_at == now + timedelta(seconds=105)


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(WaitingCode)


def test_the_command_tells_people_and_programs(fresh_database: str, call: Call) -> None:
    with transaction() as session:
        row_id = owe(session, JOBS)
    called = call("why", row_id)
    assert (called.code, called.out) == (0, "no process serves enrollments: start it\n")
    assert call("why", row_id, "--json").json == {
        "code": "no_process",
        "sentence": "no process serves enrollments: start it",
        "until": None,
        "estimate_at": None,
    }
    change("INSERT INTO process (id, kind, host, pid) VALUES (gen_random_uuid(), 'enrollments', 'h', 1)")
    change(str(COUNTED))
    assert "done about 2" in call("why", row_id).out
    unknown = call("why", new_id())
    assert (unknown.code, unknown.out, unknown.err) == (1, "", "no job and no mail has this identifier\n")
