"""Reminders leave in working hours, in parts, and once each."""

from datetime import datetime

import pytest
from sqlalchemy import text

from tests.kit.actors.committed_jobs import (
    all_rows,
    claimed,
    done_twice,
    fail_half_way,
)
from tests.kit.builders.contracts import query
from tests.kit.builders.invited_people import did as did_job
from tests.kit.builders.invited_people import (
    enrol_and_invite,
    later,
    owe,
    owed,
    remind,
    run_all,
)
from tests.kit.processes.support import rows
from workers.database import Session, transaction
from workers.engine.slots import next_slot
from workers.enrollment import reminders
from workers.requests.internal import SendReminders
from workers.requests.queues import Queue


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        ("2026-03-27", "07:07", "17:07"),
        ("2026-03-30", "06:07", "16:07"),  # summer time has begun
        ("2026-10-23", "06:07", "16:07"),
        ("2026-10-26", "07:07", "17:07"),  # summer time has ended
    ],
)
def test_people_are_reminded_between_eight_and_seven_by_the_clock_of_paris(
    session: Session, day: str, first: str, last: str
) -> None:
    [(cron,)] = query(session, "SELECT cron FROM schedule WHERE name = 'reminders'")
    slot = datetime.fromisoformat(f"{day}T03:00+00:00")
    slots: list[datetime] = []
    while len(slots) < 11:
        slot = next_slot(cron, slot)
        slots.append(slot)
    assert (slots[0].strftime("%F %R"), slots[-1].strftime("%F %R")) == (f"{day} {first}", f"{day} {last}")


def test_no_one_is_reminded_at_the_weekend(session: Session) -> None:
    for name, hour in (("reminders", "07:07"), ("releases", "07:37")):
        [(cron, request)] = query(session, "SELECT cron, request FROM schedule WHERE name = :name", name=name)
        friday = datetime.fromisoformat("2026-02-06T19:00+00:00")
        assert next_slot(cron, friday).strftime("%F %R") == f"2026-02-09 {hour}"
        assert request == {"daytime": True}


@pytest.mark.parametrize(
    ("now", "reminded"),
    [("2026-02-06T03:00+01:00", 0), ("2026-02-07T12:00+01:00", 0), ("2026-02-06T12:00+01:00", 2)],
)
def test_a_missed_run_reminds_no_one_at_night(
    session: Session, monkeypatch: pytest.MonkeyPatch, now: str, reminded: int
) -> None:
    enrol_and_invite(session, "anne", "zoe")
    later(session, 2)
    monkeypatch.setattr(reminders, "PART", 1)
    monkeypatch.setattr(reminders, "READ_NOW", text(f"SELECT CAST('{now}' AS timestamptz)"))
    did_job(session, SendReminders(daytime=True))
    assert len(owed(session, "reminder")) == reminded
    remind(session)  # all others follow
    assert len(owed(session, "reminder")) == 2


# Part by part, and once each


def test_the_people_beyond_one_part_are_done_by_following_jobs(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reminders, "PART", 4)
    enrol_and_invite(session, *[f"p{number}" for number in range(10)])
    later(session, 2)
    remind(session)
    jobs = query(session, "SELECT id, result ->> 'reminded', result ->> 'more' FROM job WHERE kind = 'send_reminders'"
                          " ORDER BY created_at, id")  # fmt: skip
    assert [(int(number), more) for _, number, more in jobs] == [(4, "true"), (4, "true"), (2, "false")]
    assert {key for (key,) in query(session, "SELECT key FROM idempotency WHERE key LIKE 'follow-up:%'")} == {
        f"follow-up:{job_id}" for job_id, *_ in jobs[:2]
    }
    assert len(owed(session, "reminder")) == 10


def due_tomorrow(*names: str) -> None:
    with transaction() as session:
        enrol_and_invite(session, *names)
        later(session, 2)
        owe(session, SendReminders())


def test_run_twice_it_is_done_once(fresh_database: str) -> None:
    due_tomorrow("anne", "zoe")
    taken = claimed(Queue.MAINTENANCE)
    before = done_twice(taken)
    with transaction() as session:
        owe(session, SendReminders())
    run_all()
    after = all_rows()
    assert {name for name in after if after[name] != before[name]} == {"job", "idempotency"}


def test_a_reminder_that_is_there_already_is_not_owed_twice(fresh_database: str) -> None:
    """The unique key of step and enrollment in the database prevents it."""
    due_tomorrow("anne")
    run_all()
    with transaction() as session:
        session.execute(text("UPDATE enrollment SET reminders = 0, next_reminder_at = now()"))
        owe(session, SendReminders())
    run_all()
    assert rows("SELECT count(*) FROM email WHERE kind = 'reminder'") == [(1,)]


@pytest.mark.parametrize("step", ["_move_on", "owe", "owe_successor"])
def test_reminders_that_fail_half_way_leave_nothing(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(reminders, "PART", 1)
    due_tomorrow("anne", "zoe")
    fail_half_way(monkeypatch, reminders, step, Queue.MAINTENANCE)
    assert rows("SELECT state, failures FROM job") == [("queued", 1)]
    with transaction() as session:
        session.execute(text("UPDATE job SET due_at = now()"))
    run_all()
    assert rows("SELECT count(*) FROM email WHERE kind = 'reminder'") == [(2,)]
