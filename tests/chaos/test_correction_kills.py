"""A worker is killed during a correction: nothing is half-done, and a second run does everything once."""

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.accounts import keys
from tests.kit.builders.corrections import (
    NEW,
    OLD,
    correct,
    notice_sent,
    participant,
    token,
)
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from workers.corrections.answers import confirm_address
from workers.database import transaction
from workers.engine.acceptance import accept_internal
from workers.engine.broker import wake
from workers.requests.accounts import CorrectEmail
from workers.requests.base import Request
from workers.requests.internal import ApplyCorrections

pytestmark = pytest.mark.heavy

LEASE = 2.0
LOOK = """
    SELECT email_norm, credential_version,
      (SELECT string_agg(state || ' ' || coalesce(ground, '-'), ', ' ORDER BY asked_at) FROM email_correction),
      (SELECT count(*) FROM link WHERE consumed_at IS NULL AND voided_at IS NULL),
      (SELECT count(*) FROM email WHERE kind = :kind),
      (SELECT count(*) FROM audit WHERE action = :action)
    FROM account"""
STALL = """
    CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"""
STALLED = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


def prepare(case: str) -> Request:
    """Creates the state a request needs and returns the request."""
    with transaction() as session:
        enrollment_id = participant(session, activated=case != "at once")
        if case != "applied":
            return CorrectEmail(enrollment_id=enrollment_id, email=NEW)
        correct(session, enrollment_id)
        confirm_address(session, keys(), token(session), password_given=False)
        notice_sent(session, hours=100)
        return ApplyCorrections()


@pytest.mark.parametrize(
    ("case", "kind", "action", "before", "after"),
    [
        (
            "at once",
            "correction_notice",
            "apply_correction",
            (OLD, 1, None, 1, 0, 0),
            (NEW, 1, "applied never_activated", 1, 1, 1),
        ),
        ("pending", "correction_notice", "correct_email", (OLD, 1, None, 0, 0, 0), (OLD, 1, "pending -", 2, 1, 1)),
        (
            "applied",
            "correction_applied",
            "apply_correction",
            (OLD, 1, "pending -", 1, 0, 0),
            (NEW, 2, "applied silence", 0, 2, 1),
        ),
    ],
)
def test_a_worker_killed_half_way_leaves_nothing_and_another_does_it_once(
    processes: Processes, case: str, kind: str, action: str, before: object, after: object
) -> None:
    request = prepare(case)
    assert rows(LOOK, kind=kind, action=action) == [before]
    change(STALL)
    change(f"CREATE TRIGGER stall BEFORE INSERT ON email FOR EACH ROW WHEN (NEW.kind = '{kind}')"
           " EXECUTE FUNCTION stall()")  # fmt: skip
    worker = processes.worker("enrollments", "maintenance", LEASE_SECONDS=str(LEASE))
    with transaction() as session:
        accept_internal(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="one")
    wake(request.queue)
    wait_until(lambda: rows(STALLED), say=processes.logs)
    processes.kill(worker)
    rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
         " AND datname = current_database()")  # fmt: skip
    wait_until(lambda: not rows(STALLED))
    assert rows(LOOK, kind=kind, action=action) == [before]
    change("DROP TRIGGER stall ON email")
    processes.clock()
    processes.worker("enrollments", "maintenance", LEASE_SECONDS=str(LEASE))
    wait_until(
        lambda: (
            rows("SELECT state, rescues FROM job WHERE kind = :kind AND rescues > 0", kind=request.kind)
            == [("succeeded", 1)]
        ),
        say=processes.logs,
    )
    assert rows(LOOK, kind=kind, action=action) == [after]
    assert "@" not in processes.logs()
