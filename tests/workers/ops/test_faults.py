"""Faults of a running system: the snapshot names each within fifteen seconds, and no more once it has ended."""

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from models.base import new_id
from tests.kit.actors.mailers import has_accepted, owe_invitations, wait_for_states
from tests.kit.builders.inboxes import drop, folder, put, scan
from tests.kit.moments import SCHEMA, set_database_to
from tests.kit.processes.lossy import LossyWay, way_to_postgres
from tests.kit.processes.support import Processes, change, forget, rows, wait_until
from tests.kit.processes.valkey import OwnValkey
from tests.kit.relay.relay import Relay
from tests.workers.ops.test_waiting import LOCKED
from workers.cli.status import print_status
from workers.clock import tick
from workers.database import transaction
from workers.engine.ledger import MAX_RESCUES
from workers.engine.watchdog import ENDED_ITSELF
from workers.ops.pauses import PauseTarget, pause_queue
from workers.ops.snapshot import read_snapshot

__all__ = ["folder"]

pytestmark = pytest.mark.serial

LIMIT = 15.0
"""Seconds within which ops have to be told."""


class Fault(NamedTuple):
    """How the status names a fault, and the next step that it tells."""

    code: str
    subject: str
    step: str


FAULTS = {
    "redis away": Fault("no_redis", "redis", "bring it back"),
    "redis refuses writes": Fault("redis_refuses", "redis", "cure what NOREPLICAS names"),
    "redis evicts": Fault("redis_evicts", "redis", "set noeviction"),
    "postgresql away": Fault("no_database", "database", "bring it back"),
    "relay away": Fault("relay_rests", "emails", "look at the relay, SMTP_URL"),
    "relay refuses": Fault("relay_refuses", "127.0.0.1", "mend what it names. It says: mail 550 5.7.1"),
    "no mailers": Fault("no_process", "emails", "start it"),
    "clock dead": Fault("no_clock", "clock", "start matricule clock"),
    "clock ahead": Fault("clock_was_ahead", "database", "look at its time service"),
    "poisoned job": Fault("dead", "rosters", "see why, then matricule retry ID"),
    "lane held": Fault("lane_held", "rosters", "a transaction holds their contract, end it"),
    "queue paused": Fault("queue_paused", "rosters", "at once by matricule queues resume rosters"),
    "process frozen": Fault("silent_process", "rosters", "restart it"),
    "process gone": Fault("no_process", "rosters", "start it"),
    "file missing": Fault("file_missing", "rh", "ask its sender"),
    "consumers dead": Fault("stuck_process", "enrollments requests", "it ends itself and is started anew"),
}
"""The faults that ops must be told of; each is made by a test below."""

HOLD_LANE = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, due_at, claim, postponements, postponed_at,
      error)
    SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), 'put_company', 'rosters', '{lane}', 'queued', '{{}}',
      now() + make_interval(secs => CASE WHEN n = 1 THEN 1 ELSE -1 END), CASE WHEN n = 1 THEN 1 ELSE 0 END,
      CASE WHEN n = 1 THEN 4 ELSE 0 END, CASE WHEN n = 1 THEN now() END,
      CASE WHEN n = 1 THEN CAST(:error AS json) END
    FROM generate_series(1, 20) n""".format(lane="00000000-0000-0000-0000-000000000009")


OWE_JOB = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, due_at)
    SELECT gen_random_uuid(), id, 'put_company', 'rosters', gen_random_uuid(), 'queued', '{}', now() FROM portal
    LIMIT 1"""


def pause(*, seconds: float) -> None:
    """Pauses the queue of rosters, in place of the pause before."""
    with transaction() as session:
        asked = {"requested_by": "shell:anne", "reason": "a repair"}
        pause_queue(session, PauseTarget("rosters"), end=timedelta(seconds=seconds), **asked)


def told() -> dict[tuple[str, str], str]:
    """Returns the sentence of each problem, as `matricule status` prints it."""
    status = read_snapshot()
    written = io.StringIO()
    print_status(Console(file=written, width=1_000), status)
    lines = [line.removeprefix("to look at: ") for line in written.getvalue().splitlines() if "to look at: " in line]
    problems = [(problem["code"], problem["subject"].partition(":")[0]) for problem in status["problems"]]
    return dict(zip(problems, lines, strict=True))


def is_named(fault: Fault) -> None:
    """Waits until the status names the fault, with its next step."""
    named = (fault.code, fault.subject)
    wait_until(lambda: named in told(), seconds=LIMIT, say=lambda: str(told()))
    assert fault.step in told()[named]


def has_ended(fault: Fault) -> None:
    wait_until(lambda: (fault.code, fault.subject) not in told(), seconds=LIMIT, say=lambda: str(told()))


def heard_of(kind: str) -> Callable[[], object]:
    """Tells whether a process of this kind sends heartbeats; the times below count from then, or from its end."""
    return lambda: rows("SELECT 1 FROM process WHERE kind = :kind AND seen_at > now() - interval '3 s'", kind=kind)


def is_heard_of(processes: Processes, kind: str) -> None:
    wait_until(heard_of(kind), seconds=90, say=processes.logs)


def test_a_relay_that_is_away_and_comes_back(relay: Relay, processes: Processes) -> None:
    has_accepted(relay)
    relay.stop()
    owe_invitations("anne", "zoe")
    processes.worker("emails")
    processes.clock()
    is_heard_of(processes, "emails")
    is_heard_of(processes, "clock")
    is_named(FAULTS["relay away"])
    [problem] = [one for one in read_snapshot()["problems"] if one["code"] == "relay_rests"]
    assert (problem["count"], problem["class"], problem["seconds"] <= 36) == (2, "connection_lost", True)
    relay.start()
    wait_for_states(processes, sent=2)
    has_ended(FAULTS["relay away"])


def test_a_process_that_is_frozen_and_one_that_is_gone(processes: Processes) -> None:
    worker = processes.worker("rosters")
    is_heard_of(processes, "rosters")
    os.killpg(worker.pid, signal.SIGSTOP)
    is_named(FAULTS["process frozen"])
    os.killpg(worker.pid, signal.SIGCONT)
    has_ended(FAULTS["process frozen"])
    change(HOLD_LANE, error=LOCKED)
    change("UPDATE job SET postponements = 0, postponed_at = NULL, due_at = now() + interval '1 hour'")
    processes.kill(worker)
    change("UPDATE job SET due_at = now()")
    is_named(FAULTS["process gone"])
    processes.worker("rosters")
    is_heard_of(processes, "rosters")
    has_ended(FAULTS["process gone"])


def test_a_clock_that_dies_and_starts_again(processes: Processes) -> None:
    clock = processes.clock()
    is_heard_of(processes, "clock")
    has_ended(FAULTS["clock dead"])
    processes.kill(clock)
    is_named(FAULTS["clock dead"])
    assert read_snapshot()["clock_lag_seconds"] > 5
    processes.clock()
    wait_until(lambda: rows("SELECT 1 FROM clock WHERE until > now()"), seconds=90, say=processes.logs)
    has_ended(FAULTS["clock dead"])


@pytest.mark.usefixtures("fresh_database")
def test_twenty_jobs_behind_a_contract_that_is_held() -> None:
    change(HOLD_LANE, error=LOCKED)
    is_named(FAULTS["lane held"])
    [problem] = [one for one in read_snapshot()["problems"] if one["code"] == "lane_held"]
    assert (problem["count"], problem["rows"][0]["waiting"]) == (20, 20)
    change("UPDATE job SET postponements = 0, postponed_at = NULL, due_at = NULL, state = 'succeeded'")
    has_ended(FAULTS["lane held"])


def test_a_queue_that_is_paused_until_its_pause_ends(processes: Processes) -> None:
    processes.worker("rosters")
    processes.clock()
    is_heard_of(processes, "rosters")
    is_heard_of(processes, "clock")
    pause(seconds=600.0)
    change(OWE_JOB)
    is_named(FAULTS["queue paused"])
    [problem] = [one for one in read_snapshot()["problems"] if one["code"] == "queue_paused"]
    assert (problem["what"], problem["by"], problem["reason"]) == ("rosters", "shell:anne", "a repair")
    assert rows("SELECT state, claim FROM job") == [("queued", 0)]
    pause(seconds=1.0)  # it ends by itself: no process is started again, and no operator does anything
    has_ended(FAULTS["queue paused"])
    wait_until(lambda: rows("SELECT 1 FROM job WHERE claim > 0"), seconds=LIMIT, say=processes.logs)


@pytest.fixture
def own_redis(fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnValkey]:
    """Starts a Redis for this test only."""
    assert fresh_database
    server = OwnValkey(tmp_path / "valkey", "--appendonly", "yes").start()
    monkeypatch.setenv("REDIS_URL", server.url)
    forget()
    yield server
    server.kill()


def test_a_redis_that_refuses_evicts_and_is_away(own_redis: OwnValkey) -> None:
    well, ill = (
        {"min-replicas-to-write": 0, "maxmemory-policy": "noeviction"},
        {
            "redis refuses writes": ("min-replicas-to-write", 1),
            "redis evicts": ("maxmemory-policy", "allkeys-lru"),
        },
    )
    for name, (option, value) in ill.items():
        with own_redis.client() as admin:
            admin.config_set(option, value)
            is_named(FAULTS[name])
            admin.config_set(option, well[option])
        has_ended(FAULTS[name])
    own_redis.kill()
    is_named(FAULTS["redis away"])
    own_redis.start()
    has_ended(FAULTS["redis away"])


@pytest.fixture
def way(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LossyWay]:
    """Leads this process to PostgreSQL over a way on which every connection is refused while it has fates."""
    assert fresh_database
    with way_to_postgres(b"") as (opened, url):
        monkeypatch.setenv("DATABASE_URL", url)
        forget()
        yield opened
        forget()


def test_a_postgresql_that_is_away_and_comes_back(way: LossyWay) -> None:
    way.fates.extend(["refuse"] * 10_000)
    is_named(FAULTS["postgresql away"])
    way.fates.clear()
    has_ended(FAULTS["postgresql away"])


def test_a_relay_that_refuses_us_until_it_takes_a_mail(relay: Relay, processes: Processes) -> None:
    has_accepted(relay)
    relay.always["MAIL"] = "550 5.7.1 Sender address rejected"
    owe_invitations("anne")
    mailer = processes.worker("emails")
    is_heard_of(processes, "emails")
    is_named(FAULTS["relay refuses"])
    relay.always.clear()
    processes.kill(mailer)  # its circuit would stay open for minutes; a setting that is mended needs a restart anyway
    processes.worker("emails")
    wait_for_states(processes, sent=1)
    has_ended(FAULTS["relay refuses"])


def test_mails_that_wait_for_a_mailer_that_is_not_there(relay: Relay, processes: Processes) -> None:
    owe_invitations("anne")
    is_named(FAULTS["no mailers"])
    processes.worker("emails")
    is_heard_of(processes, "emails")
    has_ended(FAULTS["no mailers"])
    assert relay.url


@pytest.mark.usefixtures("fresh_database")
def test_a_clock_of_the_database_that_was_ahead() -> None:
    set_database_to(datetime.now(UTC) + timedelta(days=365))
    tick(new_id())
    change(f"""
        CREATE OR REPLACE FUNCTION {SCHEMA}.now() RETURNS timestamptz LANGUAGE sql STABLE
        AS $$ SELECT pg_catalog.now() $$""")
    is_named(FAULTS["clock ahead"])
    tick(new_id())
    is_named(FAULTS["clock ahead"])  # a person looks at what was done meanwhile: it is told for a day
    change("UPDATE clock SET set_back_at = set_back_at - interval '1 day'")
    has_ended(FAULTS["clock ahead"])


@pytest.mark.usefixtures("fresh_database")
def test_a_job_that_kills_its_worker_again_and_again() -> None:
    change(OWE_JOB)
    change("UPDATE job SET leased_until = now() - interval '1 s', claim = 3, rescues = :before", before=MAX_RESCUES - 1)
    tick(new_id())
    is_named(FAULTS["poisoned job"])
    change("UPDATE job SET dismissed_at = now()")
    has_ended(FAULTS["poisoned job"])


def test_a_process_with_dead_consumers_is_named_and_ends(processes: Processes) -> None:
    words = ("dramatiq", "tests.kit.processes.wounded", "--processes", "1", "--threads", "2")
    worker = processes.start(*words, "--queues", "requests", "enrollments", LOSES="blocked", ENDS="17")
    is_heard_of(processes, "enrollments requests")
    is_named(FAULTS["consumers dead"])
    assert worker.wait(timeout=60) == ENDED_ITSELF
    processes.worker("requests", "enrollments")  # as its supervisor does
    has_ended(FAULTS["consumers dead"])


def test_an_expected_file_that_does_not_come_until_it_comes(folder: Path) -> None:
    put(folder, expected="0 6 * * *")
    has_ended(FAULTS["file missing"])
    change("UPDATE inbox SET expected_since = now() - interval '3 days'")
    is_named(FAULTS["file missing"])
    [problem] = [one for one in read_snapshot()["problems"] if one["code"] == "file_missing"]
    assert (problem["contract"], problem["last_at"]) == ("C-1", None)
    drop(folder)
    scan()
    has_ended(FAULTS["file missing"])


def test_every_fault_is_made_by_a_test() -> None:
    tests = [one for name, one in vars(sys.modules[__name__]).items() if name.startswith("test_")]
    named = {word for one in tests for word in one.__code__.co_consts if isinstance(word, str)}
    looped = {"redis refuses writes", "redis evicts"}  # keys of a table in their test
    assert set(FAULTS) <= named | looped
