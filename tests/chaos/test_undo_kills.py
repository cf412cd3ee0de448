"""Workers are killed at any chunk of an undo; each person is withdrawn once. ROWS=100000 makes a long run."""

from functools import partial
from uuid import UUID

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.chaos.test_import_kills import DONE, LEASE, ROWS, drop, kill_on_the_way
from tests.kit.builders.contracts import add_contract
from tests.kit.processes.support import Processes, rows, wait_until
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.engine.broker import wake
from workers.ops.reconciliation import find_drift
from workers.requests.imports import UndoImport
from workers.requests.queues import Queue

pytestmark = pytest.mark.heavy

JOINED = "SELECT position FROM job_person WHERE job_id = :id AND code IN ('enrolled', 'attached') ORDER BY position"
LEFT = "SELECT position FROM job_person WHERE job_id = :id AND code = 'withdrawn' ORDER BY position"
TRUTH = """
    SELECT (SELECT sum(enrolled_count) FROM contract), (SELECT sum(change) FROM seat_movement),
      (SELECT count(*) FROM seat_movement WHERE change = -1),
      (SELECT count(*) FROM enrollment WHERE withdrawn_at IS NULL),
      (SELECT count(*) FROM email WHERE kind = 'withdrawal'),
      (SELECT count(*) FROM audit WHERE action = 'undo_import')"""


def undo(job_id: UUID) -> UUID:
    request = UndoImport(job=job_id)
    with transaction() as session:
        taken_back = accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="undo").job_id
    wake(Queue.ROSTERS)
    return taken_back


def test_killed_at_any_chunk_each_person_is_withdrawn_once(processes: Processes) -> None:
    with transaction() as session:
        add_contract(session, "C-1", ROWS)
    processes.clock()
    worker = processes.worker("rosters", LEASE_SECONDS=str(LEASE))
    seconds = 60 + ROWS / 500
    imported = drop("import", "C-1")
    wait_until(partial(rows, DONE, id=imported), say=processes.logs, seconds=seconds)
    joined = rows(JOINED, id=imported)

    taken_back = undo(imported)
    killed = kill_on_the_way(processes, worker, taken_back, seed=3)
    wait_until(partial(rows, DONE, id=taken_back), say=processes.logs, seconds=seconds)
    assert killed
    assert rows("SELECT state FROM job WHERE id = :id", id=taken_back) == [("succeeded",)]
    assert joined
    assert rows(LEFT, id=taken_back) == joined
    assert rows("SELECT count(*) FROM job_person WHERE job_id = :id", id=taken_back) == [(len(joined),)]
    assert rows(TRUTH) == [(0, 0, len(joined), 0, len(joined), 1)]
    with transaction() as session:
        assert find_drift(session) == []
