"""While PostgreSQL is away nothing is accepted; while Redis is away all is; a stopped web process answers first."""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import httpx2
import psycopg
import pytest

from scripts.embedded.places import SHORT_ROOT, places
from scripts.embedded.postgres import Postgres
from tests.kit.processes.support import Processes, change, forget, rows, wait_until
from tests.kit.processes.valkey import OwnValkey
from tests.kit.processes.web_process import connected, read_to_end, start_web
from tests.kit.relay.relay import Relay
from tests.kit.servers import Servers, copy_migrated_data
from tests.workers.api.conftest import client_of, make_key, make_portal
from tests.workers.api.test_frame import ENROLL, PEOPLE, keyed, problem
from tests.workers.api.test_hostile_clients import bearer, parsed, raw, waiting_call
from workers.database import dispose_engine

pytestmark = pytest.mark.serial


@pytest.fixture
def own_postgres(migrated_data: Path, fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """Points this test at a PostgreSQL of its own, which it may stop."""
    folder = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-test-"))
    folder.chmod(0o755)
    place = places(folder)
    try:
        copy_migrated_data(migrated_data, place)
        server = Postgres(place)
        server.start()
        monkeypatch.setenv("DATABASE_URL", server.url())
        forget()
        yield server
        dispose_engine()
        server.stop()
    finally:
        for one in {place.var, *place.outside}:
            shutil.rmtree(one, ignore_errors=True)


def away(answer: httpx2.Response) -> None:
    """Checks that nothing was accepted, and that the caller is told to come again."""
    problem(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


def test_while_postgresql_is_away_nothing_is_accepted(own_postgres: Postgres, processes: Processes) -> None:
    portal = make_portal("acme")
    known, never_met = make_key(portal), make_key(portal)
    web = start_web(processes)
    with client_of(web.base_url, known) as client, client_of(web.base_url, never_met) as stranger:
        assert client.post(ENROLL, json=PEOPLE, headers=keyed()).status_code == 202
        own_postgres.kill()
        away(client.post(ENROLL, json=PEOPLE, headers=keyed("order-1")))
        away(client.get("/jobs"))
        away(client.get("/contracts"))
        away(stranger.get("/jobs"))
        assert client.get("/nothing").status_code == 404
        own_postgres.start()
        wait_until(lambda: client.get("/jobs").status_code == 200, say=processes.logs)
        assert "idempotency-replayed" not in client.post(ENROLL, json=PEOPLE, headers=keyed("order-1")).headers
        assert stranger.get("/jobs").status_code == 200
    assert web.process.poll() is None
    dispose_engine()
    assert rows("SELECT count(*) FROM job") == [(2,)]


def test_many_calls_while_postgresql_is_away_are_answered_soon(own_postgres: Postgres, processes: Processes) -> None:
    key = make_key(make_portal("acme"))
    web = start_web(processes)
    with client_of(web.base_url, key) as client, ThreadPoolExecutor(30) as pool:
        assert client.get("/jobs").status_code == 200
        own_postgres.kill()
        for answer in pool.map(lambda _: client.post(ENROLL, json=PEOPLE, headers=keyed()), range(300)):
            away(answer)
        own_postgres.start()
        wait_until(lambda: client.post(ENROLL, json=PEOPLE, headers=keyed()).status_code == 202, say=processes.logs)
    dispose_engine()
    assert rows("SELECT count(*) FROM job") == [(1,)]


def test_connections_that_are_cut_lose_and_double_nothing(
    servers: Servers, fresh_database: str, api: httpx2.Client
) -> None:
    keys = [f"order-{number}" for number in range(200)]

    def order(key: str) -> int:
        return api.post(ENROLL, json=PEOPLE, headers=keyed(key)).status_code

    where = servers.postgres.url("postgres").replace("+psycopg", "")
    with ThreadPoolExecutor(8) as pool, psycopg.connect(where, autocommit=True) as admin:
        asked = [pool.submit(order, key) for key in keys]
        while not all(one.done() for one in asked):
            admin.execute(
                "SELECT pg_terminate_backend(pid), pg_sleep(0.02) FROM pg_stat_activity WHERE datname = %s",
                (fresh_database,),
            )
    assert {one.result() for one in asked} <= {202, 503}
    accepted = {key for key, one in zip(keys, asked, strict=True) if one.result() == 202}
    dispose_engine()  # the last cut took the connections that wait in the pool, which the test reads through too
    recorded = {key for (key,) in rows("SELECT key FROM idempotency")}
    assert accepted <= recorded
    assert {order(key) for key in keys} == {202}
    assert rows("SELECT count(*), count(DISTINCT job_id) FROM idempotency") == [(200, 200)]
    assert rows("SELECT count(*) FROM job") == [(200,)]


def test_a_read_only_postgresql_accepts_nothing(api: httpx2.Client, fresh_database: str) -> None:
    change(f'ALTER DATABASE "{fresh_database}" SET default_transaction_read_only = on')
    dispose_engine()
    away(api.post(ENROLL, json=PEOPLE, headers=keyed("order-1")))
    assert api.get("/jobs").json()["items"] == []
    with psycopg.connect(os.environ["DATABASE_URL"].replace("+psycopg", ""), autocommit=True) as admin:
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f'ALTER DATABASE "{fresh_database}" RESET default_transaction_read_only')
    wait_until(lambda: api.post(ENROLL, json=PEOPLE, headers=keyed("order-1")).status_code == 202)
    assert rows("SELECT count(*) FROM job") == [(1,)]


@pytest.fixture
def own_valkey(fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnValkey]:
    """Points this test at a Valkey of its own, which it may kill."""
    server = OwnValkey(tmp_path / "valkey").start()
    monkeypatch.setenv("REDIS_URL", server.url)
    forget()
    yield server
    server.kill()


def test_without_redis_requests_are_accepted_and_done_later(
    own_valkey: OwnValkey, relay: Relay, processes: Processes
) -> None:
    web = start_web(processes)
    with client_of(web.base_url, make_key(make_portal("limited", 6_000))) as client:
        own_valkey.kill()
        assert client.put("/companies/acme", json={"name": "Acme"}, headers=keyed()).status_code == 202
        assert client.put("/trainings/F-1", json={"title": "Hygiène"}, headers=keyed()).status_code == 202
        contract = {"company": "acme", "training": "F-1", "planned_seats": 10}
        assert client.put("/contracts/C-1", json=contract, headers=keyed()).status_code == 202
        sent = client.post(ENROLL, json=PEOPLE, headers=keyed("order-1"))
        assert (sent.status_code, sent.headers["ratelimit-policy"]) == (202, '"portal";q=6000;w=60')
        again = client.post(ENROLL, json=PEOPLE, headers=keyed("order-1"))
        assert (again.json()["id"], again.headers["idempotency-replayed"]) == (sent.json()["id"], "true")
        own_valkey.start()
        processes.worker("requests", "enrollments", "maintenance")
        processes.clock()
        job = f"/jobs/{sent.json()['id']}"
        wait_until(lambda: client.get(job).json()["finished"], seconds=60, say=processes.logs)
        assert client.get(job).json()["state"] == "succeeded"
    assert rows("SELECT count(*) FROM enrollment") == [(1,)]


def test_waits_are_answered_within_a_second_of_sigterm(processes: Processes, portal: UUID) -> None:
    web, key = start_web(processes), make_key(portal)
    with ExitStack() as opened:
        waiting = [opened.enter_context(connected(web.base_url, waiting_call(key)))[0] for _ in range(20)]
        wait_until(lambda: rows("SELECT count(*) FROM job") == [(20,)])
        begun = time.monotonic()
        web.process.send_signal(signal.SIGTERM)
        for one in waiting:
            status, headers, body = parsed(read_to_end(one))
            assert (status, json.loads(body)["state"], headers["retry-after"]) == (202, "queued", "1")
        assert time.monotonic() - begun < 2
    assert web.process.wait(timeout=5) in (0, -signal.SIGTERM)


def test_what_a_killed_process_committed_is_found_under_its_key(processes: Processes, portal: UUID) -> None:
    web, key = start_web(processes), make_key(portal)
    body = json.dumps(PEOPLE).encode()
    headers = bearer(key) | keyed("order-1") | {"Prefer": "wait=30", "Content-Length": str(len(body))}
    with connected(web.base_url, raw("POST", f"/v1{ENROLL}", headers, body)) as [connection]:
        wait_until(lambda: rows("SELECT count(*) FROM job") == [(1,)])
        processes.kill(web.process)
        assert read_to_end(connection) == b""
    [(job,)] = rows("SELECT id FROM job")
    with client_of(start_web(processes).base_url, key) as client:
        repeated = client.post(ENROLL, json=PEOPLE, headers=keyed("order-1"))
    assert (repeated.status_code, repeated.json()["id"]) == (202, str(job))
    assert repeated.headers["idempotency-replayed"] == "true"
    assert rows("SELECT count(*) FROM job") == [(1,)]


def at_once(calls: Sequence[tuple[str, Mapping[str, object]]], client: httpx2.Client) -> list[httpx2.Response]:
    """Sends calls to enrol at one moment, each with its key and body."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: client.post(ENROLL, json=call[1], headers=keyed(call[0])), calls))


def test_fifty_twins_at_once_are_one_job(api: httpx2.Client) -> None:
    answers = at_once([("order-1", PEOPLE)] * 50, api)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert rows("SELECT count(*) FROM job") == [(1,)]


def test_of_two_bodies_under_one_key_one_is_done(api: httpx2.Client) -> None:
    other = {"people": [{"email": "eve@example.fr", "first_name": "Eve", "last_name": "Other"}]}
    bodies = [PEOPLE, other] * 25
    answers = at_once([("order-1", body) for body in bodies], api)
    [won] = {json.dumps(body) for body, answer in zip(bodies, answers, strict=True) if answer.status_code == 202}
    for body, answer in zip(bodies, answers, strict=True):
        if json.dumps(body) != won:
            problem(answer, 409, "idempotency_conflict")
            assert "retry-after" not in answer.headers
    assert rows("SELECT count(*) FROM job") == [(1,)]


def test_the_last_use_of_a_key_is_written_when_the_process_ends(processes: Processes, portal: UUID) -> None:
    web = start_web(processes)
    with client_of(web.base_url, make_key(portal)) as client:
        assert client.get("/contracts").status_code == 200
    web.process.terminate()
    web.process.wait(20)
    assert rows("SELECT count(*) FROM portal_key WHERE last_used_at IS NOT NULL") == [(1,)]
