"""The port for operators: metrics that answer while PostgreSQL or Redis is away, and a token when one is set."""

import json
import os
import re
import signal
import threading
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from scripts.embedded.mailbox_process import free_port
from tests.kit.processes.serving import serving
from tests.kit.processes.support import Processes, change, forget, wait_until
from tests.workers.cli.conftest import Call
from tests.workers.cli.conftest import call as call  # noqa: PLC0414 - a fixture
from workers.console import asking
from workers.console.app import make_server


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def values(answer: httpx.Response) -> dict[tuple[str, str], float]:
    """Reads the metrics of an answer: by name, and queue or code."""
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, sample.labels.get("queue") or sample.labels.get("code") or ""): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


WAITING = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, due_at)
    SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), 'enroll', 'enrollments', gen_random_uuid(), 'queued',
      now() - interval '90 s' FROM generate_series(1, 3)"""


def test_metrics_json_and_status_show_the_same_numbers(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    change(WAITING)
    monkeypatch.setattr("workers.ops.snapshot.FRESH_SECONDS", 600.0)
    with serving(make_server) as client:
        scraped = values(client.get("/metrics"))
        change("DELETE FROM job")
        again = values(client.get("/metrics"))
    told: dict[str, Any] = call_without_change(call, "status", "--json").json
    printed = call_without_change(call, "status").out
    for queue, counts in told["queues"].items():
        for reading in (scraped, again):
            assert reading["matricule_jobs_waiting", queue] == counts["waiting"]
            assert reading["matricule_jobs_dead", queue] == counts["dead"]
            assert reading["matricule_job_oldest_seconds", queue] == (counts["oldest_due_seconds"] or 0)
        assert re.search(rf"^{queue} +{counts['waiting']} ", printed, re.MULTILINE)
    assert told["queues"]["enrollments"]["waiting"] == 3
    codes = [problem["code"] for problem in told["problems"]]
    assert {code: scraped["matricule_problems", code] for code in codes} == {code: codes.count(code) for code in codes}


def call_without_change(call: Call, *words: str) -> Any:
    """Calls a command that shows what was read before; the fixture would make each call read anew."""
    with pytest.MonkeyPatch.context() as kept:
        kept.setattr("workers.ops.snapshot.FRESH_SECONDS", 600.0)
        return call(*words)


def test_the_type_is_that_of_the_text_format_and_nothing_is_cached() -> None:
    with serving(make_server) as client:
        answer = client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert answer.headers["cache-control"] == "no-store"
        assert client.head("/metrics").status_code == 200
        assert client.post("/metrics").status_code == 405


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        ("Bearer geheim-é", 401),
        ("Basic s3cret", 401),
        ("s3cret", 401),
        ("Bearer s3cret", 200),
        ("bearer  s3cret", 200),
    ],
)
def test_a_token_that_is_set_is_asked_for(given: str | None, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_TOKEN", "s3cret")
    forget()
    with serving(make_server) as client:
        headers = {} if given is None else {b"Authorization": given.encode("latin-1")}
        answer = client.get("/metrics", headers=headers)
        assert answer.status_code == status
        assert ("matricule_database_up" in answer.text) is (status == 200)
        assert ("www-authenticate" in answer.headers) is (status == 401)
        assert client.get("/livez").text == "alive\n"
        assert client.get("/readyz").text == "ready\n"


def test_metrics_answer_without_a_database_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/nothing")
    forget()
    with serving(make_server) as client:
        found = values(client.get("/metrics"))
        assert client.get("/readyz").status_code == 503
    assert (found["matricule_database_up", ""], found["matricule_healthy", ""]) == (0, 0)
    assert (found["matricule_redis_up", ""], found["matricule_problems", "no_database"]) == (1, 1)
    assert ("matricule_jobs_waiting", "enrollments") not in found


def test_a_database_that_hangs_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, asked = threading.Event(), []

    def hang() -> dict[str, Any]:
        asked.append(1)
        assert hangs.wait(60)
        return json.loads(json.dumps({}))  # type: ignore[no-any-return]

    monkeypatch.setattr(asking, "read_snapshot", hang)
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.1)
    with serving(make_server) as client:
        for _ in range(3):
            assert values(client.get("/metrics"))["matricule_database_up", ""] == 0
        assert len(asked) == 1
        monkeypatch.undo()
        hangs.set()
        wait_until(lambda: values(client.get("/metrics"))["matricule_database_up", ""] == 1)


def test_nothing_of_it_answers_on_the_public_port() -> None:
    with serving() as client:
        assert [client.get(path).status_code for path in ("/metrics", "/ops", "/ops/")] == [404, 404, 404]


@pytest.mark.heavy
def test_the_process_serves_and_stops(processes: Processes) -> None:
    port = free_port(0)
    started = processes.start("workers.cli", "ops", OPS_PORT=str(port))
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/livez").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, say=processes.logs)
    assert "matricule_database_up 1.0" in httpx.get(f"{url}/metrics").text
    second = processes.start("workers.cli", "ops", OPS_PORT=str(port))
    assert second.wait(timeout=30) == 1
    os.kill(started.pid, signal.SIGTERM)
    assert started.wait(timeout=30) in (0, -signal.SIGTERM)  # uvicorn lets the signal end the process
