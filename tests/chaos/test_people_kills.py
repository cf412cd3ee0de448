"""A worker is killed during a withdrawal or a progress report: nothing is half-done, and a second run does it once."""

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract, enrolled
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
from workers.requests.registry import parse

pytestmark = pytest.mark.heavy

LEASE = 2.0
PEOPLE = 20
WITHDRAWN = """
    SELECT count(*) FILTER (WHERE withdrawn_at IS NOT NULL),
      (SELECT count(*) FROM seat_movement WHERE change = -1), (SELECT enrolled_count FROM contract),
      (SELECT count(*) FROM email WHERE kind = 'withdrawal'),
      (SELECT count(*) FROM email WHERE kind = 'invitation' AND state = 'cancelled'),
      (SELECT count(*) FROM job_person), (SELECT count(*) FROM audit WHERE action = 'withdraw')
    FROM enrollment"""
COMPLETED = """
    SELECT count(*) FILTER (WHERE progress = 'completed'), count(completed_at),
      (SELECT enrolled_count FROM contract),
      (SELECT count(*) FROM job WHERE kind = 'issue_certificate'),
      (SELECT count(*) FROM idempotency WHERE key LIKE 'certificate:%'),
      (SELECT count(*) FROM job_person), (SELECT count(*) FROM audit WHERE action = 'record_progress')
    FROM enrollment"""
STALL = """
    CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"""
STALLED = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


def accept_request(kind: str, body: str) -> None:
    with transaction() as session:
        request = parse(kind, body)
        accept(session, LOCAL_PORTAL_ID, request, body, key="one")
    wake(request.queue)


@pytest.mark.parametrize(
    ("kind", "table", "when", "look", "before", "after"),
    [
        (
            "withdraw",
            "seat_movement",
            "NEW.change = -1",
            WITHDRAWN,
            (0, 0, PEOPLE, 0, 0, 0, 0),
            (PEOPLE, PEOPLE, 0, PEOPLE, PEOPLE, PEOPLE, 1),
        ),
        (
            "record_progress",
            "job",
            "NEW.kind = 'issue_certificate'",
            COMPLETED,
            (0, 0, PEOPLE, 0, 0, 0, 0),
            (PEOPLE, PEOPLE, PEOPLE, PEOPLE, PEOPLE, PEOPLE, 1),
        ),
    ],
)
def test_a_worker_killed_half_way_leaves_nothing_and_another_does_it_once(
    processes: Processes, kind: str, table: str, when: str, look: str, before: object, after: object
) -> None:
    with transaction() as session:
        add_contract(session, seats=PEOPLE)
        people = [str(one) for one in enrolled(session, *[f"p{number}" for number in range(PEOPLE)])]
    change(STALL)
    change(f"CREATE TRIGGER stall BEFORE INSERT ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION stall()")
    listed = str(people).replace("'", '"')
    events = ", ".join(
        f'{{"enrollment_id": "{one}", "progress": "completed", "occurred_at": "2026-03-05T12:00:00Z"}}'
        for one in people
    )
    body = f'{{"contract": "C-1", "enrollment_ids": {listed}}}' if kind == "withdraw" else f'{{"events": [{events}]}}'
    worker = processes.worker("enrollments", LEASE_SECONDS=str(LEASE))
    accept_request(kind, body)
    wait_until(lambda: rows(STALLED), say=processes.logs)
    processes.kill(worker)
    rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
         " AND datname = current_database()")  # fmt: skip
    wait_until(lambda: not rows(STALLED))
    assert rows(look) == [before]
    change(f"DROP TRIGGER stall ON {table}")
    processes.clock()
    processes.worker("enrollments", LEASE_SECONDS=str(LEASE))
    wait_until(lambda: rows("SELECT state, rescues FROM job WHERE kind = :kind", kind=kind) == [("succeeded", 1)],
               say=processes.logs)  # fmt: skip
    assert rows(look) == [after]
    with transaction() as session:
        assert find_drift(session) == []
