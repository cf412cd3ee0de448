"""Faults of a running system: the snapshot names each within fifteen seconds, and no more once it has ended."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.kit.actors.mailers import has_accepted, owe_invitations, wait_for_states
from tests.kit.builders.inboxes import drop, folder, put, scan
from tests.kit.processes.support import Processes, change, rows, wait_until
from tests.kit.relay.relay import Relay
from tests.workers.ops.test_waiting import LOCKED
from workers.database import transaction
from workers.ops.pauses import PauseTarget, pause_queue
from workers.ops.snapshot import read_snapshot

__all__ = ["folder"]

pytestmark = pytest.mark.serial

LIMIT = 15.0
"""Seconds within which ops have to be told."""

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


def told() -> set[tuple[str, str]]:
    return {(problem["code"], problem["subject"]) for problem in read_snapshot()["problems"]}


def is_named(code: str, subject: str) -> None:
    wait_until(lambda: (code, subject) in told(), seconds=LIMIT, say=lambda: str(told()))


def has_ended(code: str, subject: str) -> None:
    wait_until(lambda: (code, subject) not in told(), seconds=LIMIT, say=lambda: str(told()))


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
    is_named("relay_rests", "emails")
    [problem] = [one for one in read_snapshot()["problems"] if one["code"] == "relay_rests"]
    assert (problem["count"], problem["class"], problem["seconds"] <= 36) == (2, "connection_lost", True)
    relay.start()
    wait_for_states(processes, sent=2)
    has_ended("relay_rests", "emails")


def test_a_process_that_is_frozen_and_one_that_is_gone(processes: Processes) -> None:
    worker = processes.worker("rosters")
    is_heard_of(processes, "rosters")
    os.killpg(worker.pid, signal.SIGSTOP)
    is_named("silent_process", "rosters")
    os.killpg(worker.pid, signal.SIGCONT)
    has_ended("silent_process", "rosters")
    change(HOLD_LANE, error=LOCKED)
    change("UPDATE job SET postponements = 0, postponed_at = NULL, due_at = now() + interval '1 hour'")
    processes.kill(worker)
    change("UPDATE job SET due_at = now()")
    is_named("no_process", "rosters")
    processes.worker("rosters")
    is_heard_of(processes, "rosters")
    has_ended("no_process", "rosters")


def test_a_clock_that_dies_and_starts_again(processes: Processes) -> None:
    clock = processes.clock()
    is_heard_of(processes, "clock")
    has_ended("no_clock", "clock")
    processes.kill(clock)
    is_named("no_clock", "clock")
    assert read_snapshot()["clock_lag_seconds"] > 5
    processes.clock()
    wait_until(lambda: rows("SELECT 1 FROM clock WHERE until > now()"), seconds=90, say=processes.logs)
    has_ended("no_clock", "clock")


@pytest.mark.usefixtures("fresh_database")
def test_twenty_jobs_behind_a_contract_that_is_held() -> None:
    change(HOLD_LANE, error=LOCKED)
    is_named("lane_held", "rosters")
    [problem] = [one for one in read_snapshot()["problems"] if one["code"] == "lane_held"]
    assert (problem["count"], problem["rows"][0]["waiting"]) == (20, 20)
    change("UPDATE job SET postponements = 0, postponed_at = NULL, due_at = NULL, state = 'succeeded'")
    has_ended("lane_held", "rosters")


def test_a_queue_that_is_paused_until_its_pause_ends(processes: Processes) -> None:
    processes.worker("rosters")
    processes.clock()
    is_heard_of(processes, "rosters")
    is_heard_of(processes, "clock")
    pause(seconds=600.0)
    change(OWE_JOB)
    is_named("queue_paused", "rosters")
    [problem] = [one for one in read_snapshot()["problems"] if one["code"] == "queue_paused"]
    assert (problem["what"], problem["by"], problem["reason"]) == ("rosters", "shell:anne", "a repair")
    assert rows("SELECT state, claim FROM job") == [("queued", 0)]
    pause(seconds=1.0)  # it ends by itself: no process is started again, and no operator does anything
    has_ended("queue_paused", "rosters")
    wait_until(lambda: rows("SELECT 1 FROM job WHERE claim > 0"), seconds=LIMIT, say=processes.logs)


def test_an_expected_file_that_does_not_come_until_it_comes(folder: Path) -> None:
    put(folder, expected="0 6 * * *")
    has_ended("file_missing", "rh")
    change("UPDATE inbox SET expected_since = now() - interval '3 days'")
    is_named("file_missing", "rh")
    [problem] = [one for one in read_snapshot()["problems"] if one["code"] == "file_missing"]
    assert (problem["contract"], problem["last_at"]) == ("C-1", None)
    drop(folder)
    scan()
    has_ended("file_missing", "rh")
