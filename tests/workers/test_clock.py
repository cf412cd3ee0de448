"""The clock: which one leads, which queues it wakes, which rows it rescues, and that each scheduled time fires once."""

import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier, Event
from uuid import UUID

import pytest
from cronsim import CronSimError
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.messages import client
from tests.kit.builders.ledgers import QUEUE, lane, owe
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from workers import clock
from workers.clock import fire_schedules, lead, resign, tick
from workers.database import Session, transaction
from workers.engine import ledger as books
from workers.engine.acceptance import accept_internal
from workers.engine.ledger import EMAILS, JOBS
from workers.engine.slots import next_slot
from workers.requests.internal import Purge

ONE, TWO = new_id(), new_id()
SLOTS = "SELECT key FROM idempotency WHERE key LIKE 'schedule:%' ORDER BY key"


@pytest.fixture
def quiet(fresh_database: str) -> str:
    """Creates a database without schedules."""
    change("DELETE FROM schedule")
    return fresh_database


def plan(name: str, *, due: float | None, cron: str = "0 * * * *", kind: str = "purge", paused: bool = False) -> None:
    change(
        "INSERT INTO schedule (name, cron, kind, request, next_run_at, paused)"
        " VALUES (:name, :cron, :kind, '{}', now() + make_interval(secs => CAST(:due AS float8)), :paused)",
        name=name,
        cron=cron,
        kind=kind,
        due=due,
        paused=paused,
    )


def leads(me: UUID) -> bool:
    with transaction() as session:
        return lead(session, me)


def fire() -> list[str]:
    with transaction() as session:
        return fire_schedules(session)


def wake_ups(namespace: str) -> set[str]:
    with client() as opened:
        return {name.decode().split(":")[-1] for name in opened.scan_iter(f"{namespace}:wake:*")}


def expire_term() -> None:
    change("UPDATE clock SET until = now() - interval '1 second'")


def test_the_first_clock_leads_and_goes_on_leading(quiet: str) -> None:
    assert leads(ONE)
    assert not leads(TWO)
    assert leads(ONE)
    assert rows("SELECT holder, until - now() <= interval '5 seconds' FROM clock") == [(ONE, True)]


def test_another_takes_over_after_its_term_and_then_it_leads_no_more(quiet: str) -> None:
    assert leads(ONE)
    expire_term()
    assert leads(TWO)
    assert not leads(ONE)


def test_a_clock_that_stops_leaves_the_lead_at_once(quiet: str) -> None:
    assert leads(ONE)
    resign(TWO)
    assert not leads(TWO)
    resign(ONE)
    assert leads(TWO)


def test_a_clock_that_does_not_lead_does_nothing(quiet: str) -> None:
    assert leads(ONE)
    plan("late", due=-1)
    with transaction() as session:
        owe(session, JOBS)
    tick(TWO)
    assert rows(SLOTS) == []
    assert wake_ups(quiet) == set()


def test_it_wakes_every_due_queue_and_again_when_redis_lost_it(quiet: str) -> None:
    with transaction() as session:
        owe(session, JOBS)
        owe(session, EMAILS, queue="emails")
        owe(session, JOBS, queue="rosters", due=60)
    tick(ONE)
    assert wake_ups(quiet) == {QUEUE, "emails"}
    with client() as opened:
        opened.delete(*opened.scan_iter(f"{quiet}:*"))
    tick(ONE)
    assert wake_ups(quiet) == {QUEUE, "emails"}


@pytest.mark.parametrize("ledger", [JOBS, EMAILS], ids=["job", "email"])
def test_it_rescues_the_rows_of_a_lost_worker_and_wakes_their_queue(
    quiet: str, ledger: books.Ledger[books.Claimed]
) -> None:
    with transaction() as session:
        owe(session, ledger, lane=lane(1))
        books.claim(session, ledger, QUEUE, size=1, lease=-1, worker=ONE)
    tick(ONE)
    assert rows(f"SELECT rescues, leased_until FROM {ledger.table}") == [(1, None)]
    assert wake_ups(quiet) == {QUEUE}


def test_a_schedule_that_never_ran_waits_for_its_first_slot(quiet: str) -> None:
    plan("new", due=None)
    assert fire() == []
    assert rows("SELECT next_run_at > now(), last_run_at FROM schedule") == [(True, None)]
    assert rows(SLOTS) == []


def test_a_slot_that_has_come_is_one_job(quiet: str) -> None:
    plan("hourly", due=-1)
    assert fire() == ["hourly"]
    assert fire() == []
    assert len(rows(SLOTS)) == 1
    assert rows("SELECT kind, queue, state FROM job") == [("purge", "maintenance", "queued")]
    assert rows("SELECT next_run_at > now(), last_run_at = now() FROM schedule") == [(True, False)]


def test_slots_missed_while_no_clock_ran_fire_once(quiet: str) -> None:
    plan("every minute", due=-86_400, cron="* * * * *")
    assert fire() == ["every minute"]
    assert fire() == []
    assert len(rows(SLOTS)) == 1


def test_a_paused_schedule_does_not_fire(quiet: str) -> None:
    plan("paused", due=-1, paused=True)
    assert fire() == []


def test_two_clocks_at_once_fire_a_slot_once(quiet: str) -> None:
    for number in range(20):
        plan(f"s{number}", due=-1)
    start = Barrier(2)

    def at_once() -> list[str]:
        start.wait()
        return fire()

    with ThreadPoolExecutor(2) as pool:
        fired = [name for part in [pool.submit(at_once) for _ in range(2)] for name in part.result()]
    assert len(fired) == len(set(fired)) == 20
    assert len(rows(SLOTS)) == len(rows("SELECT 1 FROM job")) == 20


@pytest.mark.parametrize(
    ("cron", "kind"),
    [("61 * * * *", "purge"), ("0 0 30 2 *", "purge"), ("nonsense", "purge"), ("0 * * * *", "no such kind")],
)
def test_an_unreadable_schedule_delays_no_other(quiet: str, cron: str, kind: str) -> None:
    plan("a bad one", due=-1, cron=cron, kind=kind)
    plan("b good one", due=-1)
    with transaction() as session:
        owe(session, JOBS)
    tick(ONE)
    assert [str(key).split(":")[1] for (key,) in rows(SLOTS)] == ["b good one"]
    assert wake_ups(quiet) == {QUEUE, "maintenance"}


def test_a_slot_whose_key_is_taken_is_skipped(quiet: str) -> None:
    plan("hourly", due=-1)
    ((slot,),) = rows("SELECT next_run_at FROM schedule")
    assert isinstance(slot, datetime)
    request = Purge(requested_by="somebody")
    key = f"schedule:hourly:{slot.astimezone(UTC).isoformat()}"
    with transaction() as session:
        accept_internal(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=key)
    assert fire() == []
    assert rows("SELECT next_run_at > now() FROM schedule") == [(True,)]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("17 * * * *", "2026-01-05T09:17:00", "2026-01-05T10:17:00"),
        ("0 6 * * *", "2026-01-05T04:59:59", "2026-01-05T05:00:00"),  # 6:00 in winter
        ("0 6 * * *", "2026-07-05T03:59:59", "2026-07-05T04:00:00"),  # 6:00 in summer
        ("0 6 * * 0", "2026-01-05T12:00:00", "2026-01-11T05:00:00"),  # Sunday is 0
        ("0 6 * * 7", "2026-01-05T12:00:00", "2026-01-11T05:00:00"),  # and 7
        ("0 6 * * sun", "2026-01-05T12:00:00", "2026-01-11T05:00:00"),
        ("0 6 * * 1", "2026-01-05T12:00:00", "2026-01-12T05:00:00"),
        ("30 2 * * *", "2026-03-28T12:00:00", "2026-03-29T01:00:00"),  # 2:30 does not exist, so it fires at 3:00
        ("30 2 * * *", "2026-03-29T01:00:00", "2026-03-30T00:30:00"),
        ("30 2 * * *", "2026-10-24T12:00:00", "2026-10-25T00:30:00"),  # 2:30 comes twice: the first
        ("30 2 * * *", "2026-10-25T00:30:00", "2026-10-26T01:30:00"),
        ("30 2 * * *", "2026-10-25T01:10:00", "2026-10-26T01:30:00"),  # 2:10 for the second time
        ("0 * * * *", "2026-10-25T00:00:00", "2026-10-25T01:00:00"),  # an hourly schedule fires in both
        ("0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-28T23:00:00"),
    ],
)
def test_slots_are_read_in_paris(cron: str, after: str, expected: str) -> None:
    at, then = (datetime.fromisoformat(instant).replace(tzinfo=UTC) for instant in (after, expected))
    assert next_slot(cron, at) == then


@pytest.mark.parametrize("cron", ["", "x", "61 * * * *", "0 0 30 2 *"])
def test_an_invalid_cron_expression_is_an_error(cron: str) -> None:
    with pytest.raises(CronSimError):
        next_slot(cron, datetime(2026, 1, 5, tzinfo=UTC))


def test_every_shipped_schedule_can_be_read_and_fired(session: Session) -> None:
    assert fire_schedules(session) == []
    session.execute(text("UPDATE schedule SET next_run_at = now()"))
    shipped = ["certificates", "corrections", "documents", "inboxes", "participant_words", "purge", "reconcile"]
    shipped += ["releases", "reminders"]
    assert sorted(fire_schedules(session)) == shipped


def test_a_leader_that_froze_does_no_harm_when_it_wakes(quiet: str, processes: Processes) -> None:
    frozen = processes.clock()
    wait_until(lambda: rows("SELECT holder FROM clock"), say=processes.logs)
    frozen.send_signal(signal.SIGSTOP)
    other = processes.clock()
    wait_until(lambda: processes.logs().count("process.started") == 2, say=processes.logs)
    ((first,),) = rows("SELECT holder FROM clock")
    for number in range(5):
        plan(f"s{number}", due=-1)
    wait_until(lambda: rows("SELECT 1 FROM clock WHERE holder <> :first", first=first), say=processes.logs)
    frozen.send_signal(signal.SIGCONT)
    for number in range(5, 10):
        plan(f"s{number}", due=0.1)
    wait_until(lambda: len(rows(SLOTS)) == 10, say=processes.logs)
    assert len(rows("SELECT 1 FROM job")) == 10
    assert (frozen.poll(), other.poll()) == (None, None)


def test_the_second_clock_takes_over_at_once_when_the_first_stops(quiet: str, processes: Processes) -> None:
    first = processes.clock()
    wait_until(lambda: rows("SELECT holder FROM clock"), say=processes.logs)
    ((held_by,),) = rows("SELECT holder FROM clock")
    processes.clock()
    wait_until(lambda: len(rows("SELECT 1 FROM process WHERE kind = 'clock'")) == 2, say=processes.logs)
    first.terminate()
    assert first.wait(timeout=10) == 0
    wait_until(lambda: rows("SELECT 1 FROM clock WHERE holder <> :first", first=held_by), seconds=10)
    assert len(rows("SELECT 1 FROM process WHERE kind = 'clock'")) == 1


@pytest.mark.usefixtures("fresh_database")
def test_a_step_that_fails_is_not_begun_again_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    rested = Event()

    def fail() -> None:
        begun.append(1)
        raise ProgrammingError("SELECT", {}, ValueError("no such column"))

    monkeypatch.setattr(clock, "carry_out_due", fail)
    monkeypatch.setattr(clock, "rest_after_failure", rested.wait)
    acting = clock.act_beside(None)
    wait_until(lambda: begun)
    assert [clock.act_beside(acting) for _ in range(3)] == [acting] * 3
    rested.set()
    acting.join()
    again = clock.act_beside(acting)
    again.join()
    assert (again is acting, len(begun)) == (False, 2)
