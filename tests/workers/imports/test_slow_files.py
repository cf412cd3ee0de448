"""A file that takes long to read keeps no other import, no lease and no stopping process waiting."""

import signal
import subprocess
import time
from pathlib import Path
from uuid import UUID

import pytest

from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.contracts import add_contract
from tests.kit.builders.imports import codes, contract, drop, file_of, rows_of
from tests.kit.processes.support import Processes, change, rows, wait_until
from workers.actors import rosters
from workers.database import transaction
from workers.engine import ledger
from workers.engine.broker import wake
from workers.engine.chunks import keep_lease
from workers.engine.ledger import JOBS
from workers.imports import running
from workers.requests.queues import Queue
from workers.rosters import surveying

pytestmark = [pytest.mark.serial, pytest.mark.usefixtures("fresh_database")]

ENDED = "SELECT state FROM job WHERE id = :id AND finished_at IS NOT NULL"
SLOW = rows_of(header="Nom;Prénom;E-mail\n") + (b" " + b";" * 47 + b"\n") * 1_000_000
"""A file of blank rows that takes seconds to read."""


def dropped(data: bytes, contract: str, key: str) -> UUID:
    job_id = drop(data, key, contract=contract).job_id
    wake(Queue.ROSTERS)
    return job_id


def readers() -> list[str]:
    """Lists the processes that read a file at this moment."""
    commands = [one.read_bytes() for one in Path("/proc").glob("[0-9]*/cmdline") if one.exists()]
    return [command.decode() for command in commands if b"workers.rosters.survey_process" in command]


def test_an_import_beside_a_slow_file_ends_at_once_and_no_lease_is_lost(processes: Processes) -> None:
    contract()
    with transaction() as session:
        add_contract(session, "C-2", 5)
    processes.worker("rosters", threads=2, LEASE_SECONDS="1.5")
    processes.clock()
    slow = dropped(SLOW, "C-1", "slow")
    wait_until(readers, say=processes.logs)
    begun = time.monotonic()
    other = dropped(file_of("zoe"), "C-2", "other")
    wait_until(lambda: rows(ENDED, id=other), seconds=20, say=processes.logs)
    assert time.monotonic() - begun < 5
    wait_until(lambda: rows(ENDED, id=slow), seconds=60, say=processes.logs)
    assert codes(other) == ["enrolled"]
    assert rows("SELECT state, result ->> 'code', rescues FROM job WHERE id = :id", id=slow) == [
        ("refused", "empty_file", 0)
    ]
    assert rows("SELECT outcome FROM job_attempt") == []


def test_a_process_that_reads_a_slow_file_stops_and_gives_the_job_back(processes: Processes) -> None:
    contract()
    worker = processes.worker("rosters", threads=2)
    slow = dropped(SLOW, "C-1", "slow")
    wait_until(readers, say=processes.logs)
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(timeout=10)
    except subprocess.TimeoutExpired:
        pytest.fail(f"it did not stop: {processes.logs()}")
    wait_until(lambda: not readers())
    waiting = "SELECT state, failures, rescues, leased_until, due_at IS NOT NULL FROM job WHERE id = :id"
    assert rows(waiting, id=slow) == [("queued", 0, 0, None, True)]


def test_a_lease_that_a_living_worker_lost_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    contract()
    job_id = drop(file_of("zoe")).job_id
    real = surveying.survey_apart

    def lose_the_lease(*arguments: object) -> object:
        change("UPDATE job SET leased_until = now() - interval '1 second'")
        with transaction() as session:
            ledger.rescue(session, JOBS)
        keep_lease(taken[0])
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as slow:
        slow.setattr(running, "survey_apart", lose_the_lease)
        for _ in range(ledger.MAX_RESCUES + 1):
            taken = claimed(Queue.ROSTERS)
            rosters.do_batch(taken)
            assert rows("SELECT state, rescues FROM job") == [("queued", 0)]
    rosters.do_batch(claimed(Queue.ROSTERS))
    assert codes(job_id) == ["enrolled"]
    assert set(rows("SELECT outcome FROM job_attempt")) == {("overdue",)}


def test_a_row_longer_than_any_person_is_refused_alone() -> None:
    contract()
    name, spaces = "x" * 900_000, " " * 900_000
    job_id = drop(rows_of(f"{name};Zoé;a@example.com;Paie", f"Dû;{spaces}Zoé{spaces};b@example.com;Paie")).job_id
    rosters.do_batch(claimed(Queue.ROSTERS))
    assert codes(job_id) == ["name_too_long", "enrolled"]
