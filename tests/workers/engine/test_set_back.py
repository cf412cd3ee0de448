"""The clock of the database was a year ahead and was set back: times that were stored meanwhile stop no work."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import OperationalError

from models.base import new_id
from models.password import FREE_TRIES
from models.throttle import LIMITS, ThrottleScope
from tests.kit.actors.messages import client, push
from tests.kit.builders.accounts import make_account, make_link
from tests.kit.builders.contracts import add_contract, enrol_people, someone
from tests.kit.builders.ledgers import ME, QUEUE, claim, failed_attempt, lane, owe
from tests.kit.moments import SCHEMA, set_database_to
from tests.kit.processes.support import Processes, change, rows, wait_until
from workers.clock import lead, tick
from workers.database import transaction
from workers.engine import ledger as books
from workers.engine.broker import make_broker, producer_client
from workers.engine.consumer import MAINTENANCE_SECONDS
from workers.engine.ledger import EMAILS, JOBS
from workers.ops.status import read_status
from workers.ops.unrecorded import UnrecordedRequests
from workers.security.lockouts import count_failure
from workers.security.throttles import ThrottleSubject, count, hold, read_allowances

ONE, TWO = new_id(), new_id()
YEAR = timedelta(days=365)
PERSON = ThrottleSubject(ThrottleScope.RESET_ADDRESS, new_id())
UNLIKELY = "SELECT name FROM schedule WHERE next_run_at > now() + interval '8 days'"


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


@contextmanager
def a_year_ahead() -> Iterator[None]:
    """Sets the clock of the database a year ahead for the block, and back at its end."""
    set_database_to(datetime.now(UTC) + YEAR)
    yield
    change(f"""
        CREATE OR REPLACE FUNCTION {SCHEMA}.now() RETURNS timestamptz LANGUAGE sql STABLE
        AS $$ SELECT pg_catalog.now() $$""")


def status() -> dict[str, Any]:
    with transaction() as session:
        return read_status(session, UnrecordedRequests(0, None))


def problems() -> set[tuple[str, str]]:
    return {(problem["code"], problem["subject"]) for problem in status()["problems"]}


def test_another_clock_leads_at_once_and_plans_every_schedule_anew() -> None:
    with a_year_ahead():
        tick(ONE)
    assert status()["clock"] is None
    assert {("no_clock", "clock"), ("clock_was_ahead", "database"), ("void_schedule", "purge")} <= problems()
    tick(TWO)
    with transaction() as session:
        assert lead(session, TWO)
    assert rows(UNLIKELY) == []
    assert ("clock_was_ahead", "database") in problems()
    assert not {code for code, _ in problems()} & {"void_schedule", "no_clock"}
    change("UPDATE clock SET set_back_at = set_back_at - interval '1 day'")
    assert ("clock_was_ahead", "database") not in problems()


def test_a_schedule_is_planned_anew_even_if_nothing_else_tells(processes: Processes) -> None:
    change("UPDATE schedule SET next_run_at = now() + interval '1 year' WHERE name = 'inboxes'")
    processes.clock()
    wait_until(lambda: rows("SELECT 1 FROM job WHERE kind = 'scan_inboxes'"), seconds=90, say=processes.logs)
    assert "schedule.time_void" in processes.logs()


def test_the_leader_itself_goes_on_when_the_clock_is_set_back() -> None:
    with a_year_ahead():
        tick(ONE)
    tick(ONE)
    assert rows("SELECT holder, until < now() + interval '6 s' FROM clock") == [(ONE, True)]
    assert rows(UNLIKELY) == []


@pytest.mark.parametrize("ledger", [JOBS, EMAILS], ids=["job", "email"])
def test_postponed_and_leased_work_is_done_now(ledger: books.Ledger[books.Claimed]) -> None:
    with a_year_ahead():
        tick(ONE)
        with transaction() as session:
            waiting = owe(session, ledger, lane=lane(1))
            postponed, lost = owe(session, ledger, lane=lane(2)), owe(session, ledger, lane=lane(3))
        with transaction() as session:
            held = {row.id: row for row in claim(session, ledger)}
        with transaction() as session:
            books.give_back(session, ledger, [held[waiting]])
            books.set_back(session, ledger, [failed_attempt(ledger, held[postponed], "retry", 600)])
        tick(ONE)  # the last time that tells how far the clock was ahead: a second ago at most
    tick(ONE)
    change(f"UPDATE {ledger.table} SET leased_until = leased_until - interval '31 s'")  # the lease of a lost worker
    change(f"UPDATE {ledger.table} SET due_at = due_at - interval '600 s' WHERE failures = 1")
    tick(ONE)
    with transaction() as session:
        found = books.claim(session, ledger, QUEUE, size=10, lease=30, worker=ME)
    assert {row.id: row.rescues for row in found} == {waiting: 0, postponed: 0, lost: 1}
    assert rows(f"SELECT 1 FROM {ledger.table} WHERE created_at > now()") == []


def test_times_are_put_right_by_the_next_round_if_one_fails() -> None:
    with a_year_ahead():
        with transaction() as session:
            waiting = owe(session, JOBS, lane=lane(1))
        tick(ONE)
    change(f"""
        CREATE FUNCTION {SCHEMA}.refuse() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$""")
    change(f"CREATE TRIGGER refuse BEFORE UPDATE ON job FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.refuse()")
    with pytest.raises(OperationalError):
        tick(ONE)
    change("DROP TRIGGER refuse ON job")
    tick(ONE)
    assert rows(f"SELECT id, due_at <= now() FROM job WHERE queue = '{QUEUE}'") == [(waiting, True)]


def test_a_person_may_sign_in_and_ask_for_a_reset_again() -> None:
    subject = new_id()
    with a_year_ahead():
        tick(ONE)
        for _ in range(FREE_TRIES):
            with transaction() as session:
                count_failure(session, [subject])
        for _ in range(LIMITS[PERSON.scope][0].times):
            ask_for_reset()
        tick(ONE)
    tick(ONE)
    assert rows("SELECT locked_until <= now() + interval '60 s' FROM sign_in") == [(True,)]
    change("UPDATE throttle SET at = at - interval '1 day'")  # a day later
    assert ask_for_reset() > 0


def ask_for_reset() -> int:
    """Counts one request; returns how many more were allowed before it."""
    with transaction() as session:
        hold(session, [PERSON])
        [allowance] = read_allowances(session, [PERSON]).values()
        count(session, {PERSON: allowance.after_one()})
    return allowance.room


def test_links_mails_and_suppressions_of_that_time_end_when_they_should() -> None:
    with a_year_ahead():
        tick(ONE)
        with transaction() as session:
            make_link(session, make_account(session, "elodie@acme.test"))
            owe(session, EMAILS, queue="emails")
        change(
            "INSERT INTO suppression (email_norm, reason, until)"
            " VALUES ('a@exemple.test', 'bounced', now() + interval '7 days')"
        )
    tick(ONE)
    for table, column in (("link", "expires_at"), ("email", "expires_at"), ("suppression", "until")):
        assert rows(f"SELECT {column} < now() + interval '32 days' FROM {table}") == [(True,)], table


def test_reminders_of_that_time_come_when_they_should() -> None:
    with a_year_ahead():
        tick(ONE)
        with transaction() as session:
            add_contract(session, seats=3)
            enrol_people(session, someone("anne@example.com", "Anne"))
    tick(ONE)
    assert rows("SELECT next_reminder_at < now() + interval '3 days', enrolled_at <= now() FROM enrollment") == [
        (True, True)
    ]


def test_an_action_of_operators_goes_on() -> None:
    with a_year_ahead():
        tick(ONE)
        change(
            "INSERT INTO ops_action"
            " (id, verb, state, asked_by, expected, due_at, created_at, confirmed_at, finished_at)"
            " VALUES (gen_random_uuid(), 'retry', 'running', 'ops', 1, now() + interval '30 s', now(), now(), now())"
        )
    tick(ONE)
    assert rows("SELECT due_at < now() + interval '31 s' FROM ops_action") == [(True,)]
    # A set that was shown may be confirmed for an hour from then, and not for a year.
    assert rows("SELECT greatest(created_at, confirmed_at, finished_at) <= now() FROM ops_action") == [(True,)]


def test_a_process_killed_in_that_time_is_not_alive() -> None:
    with a_year_ahead():
        tick(ONE)
        change("INSERT INTO process (id, kind, host, pid) VALUES (gen_random_uuid(), 'emails', 'ici', 12)")
    seen = status()
    assert {kind: [one["kind"] for one in seen[kind]] for kind in ("processes", "silent")} == {
        "processes": [],
        "silent": ["emails"],
    }


def test_messages_fetched_by_a_host_whose_clock_was_ahead_come_back() -> None:
    push(b"noise", queue="enrollments")
    dead = make_broker(producer_client(os.environ["REDIS_URL"]))
    assert next(dead.consume("enrollments")) is not None
    beats = f"{os.environ['REDIS_NAMESPACE']}:__heartbeats__"
    ahead = int((datetime.now(UTC) + YEAR).timestamp() * 1000)
    with client() as opened:
        opened.zadd(beats, {dead.broker_id: ahead})
        living = make_broker(producer_client(os.environ["REDIS_URL"]))
        consumer = living.consume("enrollments")
        consumer._maintained_at -= MAINTENANCE_SECONDS
        assert next(consumer) is None
        beat = opened.zscore(beats, dead.broker_id)
    assert beat is not None
    assert abs(float(beat) / 1000 - datetime.now(UTC).timestamp()) < 60
    for broker in (dead, living):
        broker.client.close()


def test_nothing_is_moved_while_the_clock_is_right() -> None:
    for _ in range(2):
        tick(ONE)
    with transaction() as session:
        owe(session, JOBS, due=3_600)
    tick(ONE)
    assert rows("SELECT due_at > now() + interval '59 minutes' FROM job WHERE lane = :lane", lane=UUID(int=1)) == [
        (True,)
    ]
    assert ("clock_was_ahead", "database") not in problems()
