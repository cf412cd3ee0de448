"""`matricule schedules`: operators run, pause and resume a schedule, and the audit trail says who and why."""

import pytest

from tests.kit.processes.support import change, rows
from tests.workers.cli.conftest import Call
from workers.clock import fire_schedules
from workers.database import transaction

WHY = ("--reason", "asked by phone")


@pytest.fixture(autouse=True)
def _planned(fresh_database: str) -> None:
    """Plans every schedule for tomorrow."""
    change("UPDATE schedule SET cron = '0 3 * * *'")
    with transaction() as session:
        fire_schedules(session)


def fired() -> list[str]:
    with transaction() as session:
        return fire_schedules(session)


def audited() -> list[tuple[object, ...]]:
    return rows("SELECT action, detail->>'schedule', detail->>'reason' FROM audit ORDER BY id")


def test_a_schedule_runs_once_now_and_then_as_planned(call: Call) -> None:
    before = rows("SELECT next_run_at FROM schedule WHERE name = 'reconcile'")
    assert fired() == []
    assert call("schedules", "run", "reconcile", *WHY).out == "the clock runs it now\n"
    assert (fired(), fired()) == (["reconcile"], [])
    assert rows("SELECT next_run_at FROM schedule WHERE name = 'reconcile'") == before
    assert rows("SELECT kind FROM job") == [("reconcile_seats",)]
    assert audited() == [("run_schedule", "reconcile", "asked by phone")]


def test_a_paused_schedule_waits_until_it_is_resumed(call: Call) -> None:
    assert call("schedules", "pause", "purge", *WHY).out == "paused\n"
    assert call("schedules", "pause", "purge", *WHY).out == "paused already: nothing was changed\n"
    refused = call("schedules", "run", "purge", *WHY)
    assert (refused.code, refused.err) == (1, "it is paused: resume it first\n")
    change("UPDATE schedule SET next_run_at = now() - interval '1 day' WHERE name = 'purge'")
    assert fired() == []
    assert call("schedules", "resume", "purge", *WHY).out == "goes on at its next time\n"
    assert fired() == []  # what was missed is not made up
    assert [action for action, *_ in audited()] == ["pause_schedule", "resume_schedule"]


def test_the_list_says_when_each_runs(call: Call) -> None:
    call("schedules", "pause", "purge", *WHY)
    listed = {one["name"]: one for one in call("schedules", "list", "--json").json}
    assert (listed["purge"]["paused"], listed["reconcile"]["paused"]) == (True, False)
    assert listed["reconcile"]["next_run_at"] is not None
    [line] = [line for line in call("schedules", "list").out.splitlines() if line.startswith("purge ")]
    assert line.split() == ["purge", "0", "3", "*", "*", "*", "paused", "-", "purge"]


def test_what_cannot_be_done_is_refused(call: Call) -> None:
    assert call("schedules", "run", "lunch", *WHY).code == 1
    assert call("schedules", "run", "purge").code == 2
    assert call("schedules", "run", "purge", "--reason", "a@b.fr asked").code == 65
    assert audited() == []


def test_one_that_cannot_be_read_is_paused_and_does_not_go_on(call: Call) -> None:
    change("UPDATE schedule SET cron = 'no times' WHERE name = 'purge'")
    assert [call("schedules", verb, "purge", *WHY).code for verb in ("pause", "resume")] == [0, 1]
