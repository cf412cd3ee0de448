"""A worker is killed while it corrects a name: nothing is half-done, and a second run does everything once."""

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.chaos.test_correction_kills import LEASE, STALL, STALLED
from tests.kit.builders.corrections import participant
from tests.kit.processes.support import Processes, change, rows, wait_until
from workers.database import transaction
from workers.engine.acceptance import accept_internal
from workers.engine.broker import wake
from workers.requests.accounts import CorrectName

pytestmark = pytest.mark.heavy

LOOK = """
    SELECT last_name, (SELECT count(*) FROM name_correction),
      (SELECT count(*) FROM link WHERE purpose = 'name_confirmation'),
      (SELECT count(*) FROM email WHERE kind LIKE 'name%'), (SELECT count(*) FROM audit WHERE action = 'correct_name')
    FROM account"""


@pytest.mark.parametrize(
    ("activated", "table", "after"),
    [(True, "email", ("Le Dû", 1, 1, 1, 1)), (False, "name_correction", ("Durand", 1, 0, 0, 1))],
)
def test_a_worker_killed_half_way_leaves_nothing_and_another_does_it_once(
    processes: Processes, activated: bool, table: str, after: object
) -> None:
    with transaction() as session:
        request = CorrectName(enrollment_id=participant(session, activated=activated), last_name="Durand")
    before = [("Le Dû", 0, 0, 0, 0)]
    assert rows(LOOK) == before
    change(STALL)
    change(f"CREATE TRIGGER stall BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION stall()")
    worker = processes.worker("enrollments", "maintenance", LEASE_SECONDS=str(LEASE))
    with transaction() as session:
        accept_internal(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="one")
    wake(request.queue)
    wait_until(lambda: rows(STALLED), say=processes.logs)
    processes.kill(worker)
    rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
         " AND datname = current_database()")  # fmt: skip
    wait_until(lambda: not rows(STALLED))
    assert rows(LOOK) == before
    change(f"DROP TRIGGER stall ON {table}")
    processes.clock()
    processes.worker("enrollments", "maintenance", LEASE_SECONDS=str(LEASE))
    done = "SELECT state, rescues FROM job WHERE kind = 'correct_name' AND rescues > 0"
    wait_until(lambda: rows(done) == [("succeeded", 1)], say=processes.logs)
    assert rows(LOOK) == [after]
    assert "Durand" not in processes.logs()
