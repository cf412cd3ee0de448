"""Workers are killed at any chunk of a file; the result equals that of an undisturbed run. ROWS=100000 makes a long
run.
"""

import io
import os
import random
from functools import partial
from subprocess import Popen
from typing import Any
from uuid import UUID

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from workers.database import transaction
from workers.engine.broker import wake
from workers.imports.acceptance import accept_file, digest_of
from workers.imports.reports import report_rows
from workers.ops.reconciliation import find_drift
from workers.requests.imports import ImportRoster
from workers.requests.queues import Queue

pytestmark = pytest.mark.heavy

LEASE = 2.0
ROWS = int(os.environ.get("ROWS", "6000"))
DONE = "SELECT 1 FROM job WHERE id = :id AND finished_at IS NOT NULL"
REACHED = "SELECT 1 FROM job WHERE id = :id AND (finished_at IS NOT NULL OR position >= :place)"
MOST_KILLS = 5


def file_of(count: int) -> bytes:
    """Returns a file of more people than seats, some of them twice, some with an invalid address."""
    chance = random.Random(7)
    lines = ["Nom;Prénom;E-mail"]
    for number in range(count):
        known = chance.randrange(max(1, number)) if chance.random() < 0.1 else number
        address = "personne@" if chance.random() < 0.02 else f"p{known}@example.com"
        lines.append(f"Dû{known};Zoé;{address}")
    return "\r\n".join(lines).encode()


def drop(key: str, contract: str) -> UUID:
    file = io.BytesIO(file_of(ROWS))
    request = ImportRoster(contract=contract, file=digest_of(file), file_name="liste.csv", notify=False)
    with transaction() as session:
        job_id = accept_file(session, LOCAL_PORTAL_ID, file, request, key=key).job_id
    wake(Queue.ROSTERS)
    return job_id


def outcome(job_id: UUID) -> list[tuple[int, Any]]:
    with transaction() as session:
        return [(one.row.line, one.code) for one in report_rows(session, job_id)]


def kill_on_the_way(processes: Processes, worker: Popen[bytes], job_id: UUID, seed: int) -> int:
    """Kills the worker of a job at chosen chunks of its file, each time after progress; returns the number of kills."""
    chunks = range(1, max(2, ROWS // 1_000))
    killed = reached = 0
    for chunk in sorted(random.Random(seed).sample(chunks, min(MOST_KILLS, len(chunks)))):
        place = max(chunk * 1_000, reached + 1)
        wait_until(partial(rows, REACHED, id=job_id, place=place), say=processes.logs, seconds=60 + ROWS / 500)
        if rows(DONE, id=job_id):
            break
        processes.kill(worker)
        killed += 1
        [(position,)] = rows("SELECT position FROM job WHERE id = :id", id=job_id)
        reached = int(str(position))
        worker = processes.worker("rosters", LEASE_SECONDS=str(LEASE))
    return killed


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_chunk_the_end_is_the_same(processes: Processes, seed: int) -> None:
    seats = int(ROWS * 0.8)
    with transaction() as session:
        add_contract(session, "C-1", seats)
        add_contract(session, "C-2", seats)
    processes.clock()
    worker = processes.worker("rosters", LEASE_SECONDS=str(LEASE))
    undisturbed = drop("undisturbed", "C-1")
    wait_until(partial(rows, DONE, id=undisturbed), say=processes.logs, seconds=60 + ROWS / 500)
    expected = outcome(undisturbed)
    change("DELETE FROM job_attempt")

    disturbed = drop("disturbed", "C-2")
    killed = kill_on_the_way(processes, worker, disturbed, seed)
    wait_until(partial(rows, DONE, id=disturbed), say=processes.logs, seconds=60 + ROWS / 500)
    assert killed
    found = [(line, "attached" if code == "enrolled" else code) for line, code in outcome(disturbed)]
    assert found == [(line, "attached" if code == "enrolled" else code) for line, code in expected]
    assert {code for _, code in found} == {"attached", "duplicate_in_file", "invalid_email", "no_seat_left"}
    assert rows("SELECT count(*) FROM roster_address") == [(0,)]
    with transaction() as session:
        assert find_drift(session) == []
