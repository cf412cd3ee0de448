"""The web process is killed during a detachment: nothing is half-done, and a second click does everything once."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from scripts.embedded.mailbox_process import free_port
from tests.kit.builders.attachments import attach, enrollment_state
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from workers.database import transaction
from workers.ops.reconciliation import find_drift
from workers.web.forms import FORM_TYPE

pytestmark = pytest.mark.heavy

STALL = """
    CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$"""
STALLED = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


def press(port: int, path: str) -> int | None:
    """Returns the status of the answer, or None when the process died."""
    try:
        answer = httpx.post(
            f"http://127.0.0.1:{port}{path}", content=b"", headers={"Content-Type": FORM_TYPE}, timeout=30
        )
    except httpx.TransportError:
        return None
    return answer.status_code


def serve(processes: Processes) -> int:
    port = free_port(0)
    processes.start("workers.cli", "serve", PORT=str(port))

    def alive() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(alive, say=processes.logs)
    return port


def test_a_kill_leaves_nothing_half_done_and_a_second_click_does_it_once(processes: Processes) -> None:
    with transaction() as session:
        anne = attach(session)
    path = f"/links/{anne.token}"
    change(STALL)
    change("CREATE TRIGGER stall BEFORE INSERT ON audit FOR EACH ROW WHEN (NEW.action = 'detach')"
           " EXECUTE FUNCTION stall()")  # fmt: skip
    port = serve(processes)
    with ThreadPoolExecutor(1) as pool:
        pressed = pool.submit(press, port, path)
        wait_until(lambda: rows(STALLED), say=processes.logs)
        processes.kill(processes.started[-1])
        assert pressed.result(30) is None
    rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
         " AND datname = current_database()")  # fmt: skip
    wait_until(lambda: not rows(STALLED))
    with transaction() as session:
        assert enrollment_state(session, anne.enrollment_id) == ("not_started", False, False, 1, 1, 0, 0)
    change("DROP TRIGGER stall ON audit")
    port = serve(processes)
    assert [press(port, path), press(port, path)] == [200, 410]
    with transaction() as session:
        assert enrollment_state(session, anne.enrollment_id) == ("not_started", True, True, 0, 0, 1, 1)
        assert find_drift(session) == []
