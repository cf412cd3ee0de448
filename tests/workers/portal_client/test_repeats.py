"""The client of portals repeats under the same key: one effect and one answer, through whichever door it comes back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from urllib.parse import urlsplit

import pytest

from tests.kit.builders.portals import PortalCredentials
from tests.kit.processes.lossy import Fate, lossy_way
from tests.kit.processes.support import PROJECT, Processes, rows
from tests.workers.portal_client.conftest import queue_portal
from workers.portal_client import Portal, Unanswered

ENROLLMENTS = b"/enrollments"
PEOPLE = [{"email": "zoe@example.com", "first_name": "Zoë", "last_name": "Müller"}]

SENDS = """
import json, os, sys
from workers.portal_client import Portal
Portal(**json.loads(sys.argv[1])).enroll("C-1", json.loads(sys.argv[2]), key="order-1")
"""


def enroll(portal: Portal, key: str = "order-1") -> tuple[str, bool]:
    """Asks for the enrollment; returns the job, and whether it is a repeat."""
    job = portal.enroll("C-1", PEOPLE, key=key)  # type: ignore[arg-type]
    return str(job.id), job.repeated


def client_at(port: int, credentials: PortalCredentials, *, patience: float = 30) -> Portal:
    return Portal(f"http://127.0.0.1:{port}/v1", key=credentials.key, patience=patience)


def jobs() -> list[str]:
    return [str(job) for (job,) in rows("SELECT id FROM job WHERE kind = 'enroll'")]


def http_port(url: str) -> int:
    return urlsplit(url).port or 0


def redis_place() -> int | str:
    """Returns the port of Redis, or the path of its socket."""
    address = urlsplit(os.environ["REDIS_URL"])
    return address.path if address.scheme == "unix" else address.port or 6379


@pytest.mark.parametrize("fates", [("lose",), ("lose", "refuse", "lose", "refuse"), ("refuse", "refuse", "refuse")])
def test_a_lost_connection_is_repeated_and_is_one_job(
    url: str, credentials: PortalCredentials, fates: tuple[Fate, ...]
) -> None:
    with lossy_way(http_port(url), ENROLLMENTS, *fates) as way:
        with client_at(way.port, credentials) as portal:
            job, repeated = enroll(portal)
        assert not way.fates
    assert (jobs(), repeated) == ([job], "lose" in fates)


def test_a_server_that_stays_away_is_an_error_and_later_one_job(url: str, credentials: PortalCredentials) -> None:
    lost: list[Fate] = ["lose"] * 1_000
    with lossy_way(http_port(url), ENROLLMENTS, *lost) as way, client_at(way.port, credentials, patience=1) as portal:
        with pytest.raises(Unanswered):
            enroll(portal)
        way.fates.clear()
        job, repeated = enroll(portal)
    assert (jobs(), repeated) == ([job], True)


def sender_over_http(port: int, credentials: PortalCredentials) -> dict[str, str]:
    return {"url": f"http://127.0.0.1:{port}/v1", "key": credentials.key}


def sender_over_the_queue(port: int, credentials: PortalCredentials) -> dict[str, str]:
    named = {"portal": credentials.portal, "key_id": credentials.key_id, "secret": credentials.secret}
    return {"url": f"redis://127.0.0.1:{port}/0", "namespace": os.environ["REDIS_NAMESPACE"], **named}


@pytest.mark.parametrize("door", [sender_over_http, sender_over_the_queue])
def test_a_client_killed_before_it_reads_comes_back_through_either_door(
    door: Callable[[int, PortalCredentials], dict[str, str]],
    url: str,
    by_http: Portal,
    credentials: PortalCredentials,
    workers: Processes,
) -> None:
    through = http_port(url) if door is sender_over_http else redis_place()
    needle = ENROLLMENTS if door is sender_over_http else b"XADD"
    with lossy_way(through, needle, "hold") as way:
        named = json.dumps(door(way.port, credentials)), json.dumps(PEOPLE)
        client = subprocess.Popen([sys.executable, "-c", SENDS, *named], cwd=PROJECT)
        try:
            assert way.answered.wait(60)
            assert client.poll() is None
        finally:
            client.kill()
            client.wait()
    with queue_portal(credentials) as by_queue:
        answers = [enroll(by_queue), enroll(by_http), enroll(by_queue)]
    assert answers == [(jobs()[0], True)] * 3
    assert len(jobs()) == 1


def test_fifty_twins_at_once_are_one_job(url: str, credentials: PortalCredentials, workers: Processes) -> None:
    together = Barrier(50)

    def ask(number: int) -> tuple[str, bool]:
        opened = Portal(url, key=credentials.key) if number % 5 else queue_portal(credentials)
        with opened as portal:
            together.wait(60)
            return enroll(portal)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    assert {job for job, _ in answers} == set(jobs())
    assert [repeated for _, repeated in answers].count(False) == 1


def test_nothing_reads_the_queue_until_a_worker_is_back(credentials: PortalCredentials, processes: Processes) -> None:
    with queue_portal(credentials, patience=1) as portal, pytest.raises(Unanswered):
        enroll(portal)
    processes.worker("requests")
    with queue_portal(credentials) as portal:
        job, _ = enroll(portal)
    assert jobs() == [job]
