"""A worker is killed during an erasure or an export: nothing is half-done, and a second run does everything once."""

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import (
    add_contract,
    asking,
    did,
    everything,
    someone,
)
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.engine.broker import wake
from workers.ops.reconciliation import find_drift
from workers.requests.accounts import ErasePerson, ExportPerson
from workers.requests.base import Request

pytestmark = pytest.mark.heavy

LEASE = 2.0
ANNE = "anne@example.com"
STALL = """
    CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"""
STALLED = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
TRUTH = """
    SELECT (SELECT count(*) FROM account WHERE erased_at IS NOT NULL), (SELECT enrolled_count FROM contract),
      (SELECT count(*) FROM certificate_holder), (SELECT count(*) FROM email WHERE to_address = ''),
      (SELECT count(*) FROM job WHERE CAST(result AS text) LIKE '%Lorval%'),
      (SELECT count(*) FROM audit WHERE action = :kind), (SELECT count(*) FROM job WHERE request IS NULL)"""


@pytest.mark.parametrize(
    ("request_", "after"),
    [
        (ErasePerson(email=ANNE, reason="x"), (1, 1, 0, 1, 0, 1, 1)),
        (ExportPerson(email=ANNE), (0, 2, 0, 0, 1, 1, 0)),
    ],
    ids=lambda value: value.kind if isinstance(value, Request) else "",
)
def test_a_worker_killed_half_way_leaves_nothing_and_another_does_it_once(
    processes: Processes, request_: Request, after: tuple[int, ...]
) -> None:
    with transaction() as session:
        add_contract(session)
        did(session, asking(someone(ANNE, "Anne", "Lorval"), "zoe"))
    change(STALL)
    change("CREATE TRIGGER stall BEFORE INSERT ON audit FOR EACH ROW"
           f" WHEN (NEW.action = '{request_.kind}') EXECUTE FUNCTION stall()")  # fmt: skip
    worker = processes.worker("maintenance", LEASE_SECONDS=str(LEASE))
    with transaction() as session:
        accept(session, LOCAL_PORTAL_ID, request_, request_.model_dump_json(), key="one")
    with transaction() as session:
        before = everything(session)
    wake(request_.queue)
    wait_until(lambda: rows(STALLED), say=processes.logs)
    processes.kill(worker)
    rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
         " AND datname = current_database()")  # fmt: skip
    wait_until(lambda: not rows(STALLED))
    with transaction() as session:
        left = everything(session)
    assert {table for table in left if left[table] != before[table]} <= {"job", "process"}
    assert rows(TRUTH, kind=request_.kind) == [(0, 2, 0, 0, 0, 0, 0)]
    change("DROP TRIGGER stall ON audit")
    processes.clock()
    processes.worker("maintenance", LEASE_SECONDS=str(LEASE))
    wait_until(lambda: rows("SELECT state, rescues FROM job WHERE kind = :kind", kind=request_.kind)
               == [("succeeded", 1)], say=processes.logs)  # fmt: skip
    assert rows(TRUTH, kind=request_.kind) == [after]
    assert "lorval" not in processes.logs().lower()
    assert ANNE not in processes.logs()
    with transaction() as session:
        assert find_drift(session) == []
