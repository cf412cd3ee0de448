"""A worker is killed while it makes a zip of documents: one zip and one register result, with every number once."""

import random
from collections.abc import Sequence
from functools import partial
from subprocess import Popen
from typing import Any
from uuid import UUID

import pytest

from tests.kit.builders.certificates import (
    ask,
    complete,
    did,
    index,
    job,
    organisation,
    training,
    unzipped,
)
from tests.kit.builders.contracts import add_contract, enrolled, someone
from tests.kit.builders.documents import text_of
from tests.kit.processes.support import Processes, rows, wait_until
from workers.database import transaction
from workers.engine.broker import wake
from workers.requests.queues import Queue

pytestmark = pytest.mark.heavy

LEASE = 2.0
PEOPLE = 120
CHUNK = 10
DONE = "SELECT 1 FROM job WHERE id = :id AND finished_at IS NOT NULL"
REACHED = "SELECT 1 FROM job WHERE id = :id AND (finished_at IS NOT NULL OR position >= :place)"


def graduates() -> list[UUID]:
    with transaction() as session:
        add_contract(session, seats=PEOPLE)
        did(session, organisation(), training())
        people = enrolled(session, *(someone(f"p{number}", "Zoé", f"Dû{number}") for number in range(PEOPLE)))
        complete(session, *people)
    return people


def kill_on_the_way(processes: Processes, worker: Popen[bytes], job_id: UUID, chunks: Sequence[int]) -> int:
    """Kills the worker of a job after some of its chunks; returns the number of kills."""
    killed = 0
    for chunk in chunks:
        reached = partial(rows, REACHED, id=job_id, place=chunk * CHUNK)
        wait_until(reached, say=processes.logs, seconds=60)
        if rows(DONE, id=job_id):
            break
        processes.kill(worker)
        killed += 1
        worker = processes.worker("certificates_bulk", LEASE_SECONDS=str(LEASE))
    return killed


@pytest.mark.parametrize("seed", [1, 2])
def test_a_kill_during_a_zip_leaves_one_zip_with_every_number_once(processes: Processes, seed: int) -> None:
    people = graduates()
    processes.clock()
    worker = processes.worker("certificates_bulk", LEASE_SECONDS=str(LEASE))
    job_id = ask(*people)
    wake(Queue.CERTIFICATES_BULK)
    last = PEOPLE // CHUNK - 1  # the zip is made after this chunk
    chunks = [*sorted(random.Random(seed).sample(range(last), 2)), last]
    assert kill_on_the_way(processes, worker, job_id, chunks) >= 2
    wait_until(partial(rows, DONE, id=job_id), say=processes.logs, seconds=120)
    _is_whole(job(job_id))


def _is_whole(done: dict[str, Any]) -> None:
    assert (done["state"], done["result"]["counts"]) == ("succeeded", {"duplicated": PEOPLE})
    files = unzipped(done)
    assert len(files) == PEOPLE + 1
    assert rows("SELECT count(*), count(DISTINCT certificate_id), max(ordinal) FROM certificate_duplicate") == [
        (PEOPLE, PEOPLE, 1)
    ]
    assert rows("SELECT count(*), count(DISTINCT duplicate_id) FROM rendering") == [(PEOPLE, PEOPLE)]
    assert rows("SELECT count(*) FROM certificate_file") == [(1,)]
    assert rows("SELECT count(*) FROM audit WHERE action = 'duplicate_certificates'") == [(1,)]
    for number, line in enumerate(index(files)):
        assert (line[2], line[7]) == (f"Dû{number}", "duplicated")
        printed = text_of(files[line[6]])
        assert f"Zoé Dû{number} " in printed
        assert line[4] in printed
