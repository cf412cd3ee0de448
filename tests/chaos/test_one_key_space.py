"""One key is one request at all doors of a portal: one job, one effect and the same answer, whichever door asks again.

The doors are HTTP, the stream of the portal, and the queue `requests` that dramatiq writes, the list. The queue doors
answer in the stream of answers of the portal.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import permutations
from threading import Barrier
from typing import Final, NamedTuple

import httpx2
import pytest
from sqlalchemy import text

from scripts.embedded.valkey import Valkey
from tests.kit.actors.messages import client, demo, portal_client, stream
from tests.kit.processes.killed import LEASE, make_contracts
from tests.kit.processes.serving import serving
from tests.kit.processes.support import Processes, rows, wait_until
from workers.database import transaction
from workers.engine.door_lease import HOLD_SECONDS, lease_key
from workers.portal_client import Door, SentAnswer
from workers.requests.enrollment import Enroll, PersonToEnroll

pytestmark = pytest.mark.heavy

DOORS: Final = ("http", "stream", "list")

HTTP_OUTCOMES: Final = {
    (False, None): "accepted",
    (True, None): "repeated",
    (False, "idempotency_conflict"): "conflict",
}
"""The word of the queue doors for an answer over HTTP: whether it was replayed, and its code."""


class DoorAnswer(NamedTuple):
    """The answer of a door, in the words of the queue doors; the job is empty where HTTP answered with a problem."""

    outcome: str
    job: str


def request(name: str = "Zoë") -> Enroll:
    return Enroll(contract="K-0", people=[PersonToEnroll(email="zoe@example.com", first_name=name, last_name="Dû")])


def by_http(http: httpx2.Client, key: str, asked: Enroll) -> DoorAnswer:
    """Asks over HTTP; a call while a table is locked by the test is repeated, as a portal repeats a 503."""
    body = asked.model_dump_json(exclude_unset=True, exclude={"contract"})
    answer = http.post("/contracts/K-0/enrollments", content=body, headers={"Idempotency-Key": key})
    told = answer.json()
    assert answer.status_code in (200, 202, 409), told
    replayed = answer.headers.get("idempotency-replayed") == "true"
    outcome = HTTP_OUTCOMES[replayed, told.get("code")]
    return DoorAnswer(outcome, "" if answer.status_code == 409 else told["id"])


def by_queue(door: Door, key: str, asked: Enroll) -> str:
    """Sends through a queue door; returns the identifier of the message."""
    portal = portal_client(door)
    try:
        return portal.send(asked, key=key)
    finally:
        portal.close()


def answers_to(messages: set[str], processes: Processes) -> dict[str, SentAnswer]:
    """Returns the answers to these messages, once all are there."""
    portal = portal_client("stream")
    read: list[SentAnswer] = []

    def all_answered() -> bool:
        read.extend(portal.read_answers(read[-1].place if read else "0-0", seconds=0.1))
        return messages <= {one.message_id for one in read}

    wait_until(all_answered, say=processes.logs)
    portal.close()
    return {one.message_id: one for one in read if one.message_id in messages}


@pytest.fixture
def http(valkey: Valkey) -> Iterator[httpx2.Client]:
    """Makes a contract of the portal `demo`, and opens a client of its API."""
    make_contracts(1)
    with serving() as served:
        base = f"{str(served.base_url).rstrip('/')}/v1"
        key = {"Authorization": f"Bearer {demo().key}"}
        with httpx2.Client(base_url=base, headers=key, timeout=60, trust_env=False) as opened:
            yield opened


@pytest.fixture
def ask(http: httpx2.Client, processes: Processes) -> Callable[..., DoorAnswer]:
    """Asks through a door, and waits for its answer."""

    def asking(door: str, key: str, name: str = "Zoë") -> DoorAnswer:
        if door == "http":
            return by_http(http, key, request(name))
        message = by_queue("list" if door == "list" else "stream", key, request(name))
        told = answers_to({message}, processes)[message]
        return DoorAnswer(told.outcome, told.job_id)

    return asking


def jobs_of(key: str) -> list[str]:
    """Returns the jobs of the portal under this key, which can be one at most."""
    asked = "SELECT i.job_id FROM idempotency i WHERE i.key = :key AND i.portal_id = :portal"
    return [str(job) for (job,) in rows(asked, key=key, portal=demo().portal_id)]


def one_person_is_enrolled_once() -> None:
    wait_until(lambda: not rows("SELECT 1 FROM job WHERE finished_at IS NULL AND kind = 'enroll'"))
    assert rows("SELECT count(*) FROM enrollment") == [(1,)]
    assert rows("SELECT enrolled_count FROM contract") == [(1,)]
    assert rows("SELECT count(*) FROM email") == [(1,)]


def test_one_door_after_the_other_answers_with_the_same_job(
    processes: Processes, ask: Callable[..., DoorAnswer]
) -> None:
    processes.worker("requests", "enrollments")
    for number, order in enumerate(permutations(DOORS)):
        key = f"order-{number}"
        first, *others = [ask(door, key) for door in (*order, *order)]
        assert (first.outcome, [first.job]) == ("accepted", jobs_of(key)), order
        assert others == [DoorAnswer("repeated", first.job)] * 5, order
    assert rows("SELECT count(*) FROM job") == [(6,)]
    no_request_is_left()
    one_person_is_enrolled_once()


def test_fifty_twins_at_three_doors_at_once_are_one_job(http: httpx2.Client, processes: Processes) -> None:
    processes.worker("requests", "enrollments", processes=2)
    together = Barrier(50)

    def send(number: int) -> DoorAnswer | str:
        door = DOORS[number % 3]
        together.wait(60)
        if door == "http":
            return by_http(http, "twins", request())
        return by_queue("list" if door == "list" else "stream", "twins", request())

    with ThreadPoolExecutor(50) as pool:
        sent = list(pool.map(send, range(50)))
    told = answers_to({one for one in sent if isinstance(one, str)}, processes)
    answers = [one for one in sent if isinstance(one, DoorAnswer)]
    answers += [DoorAnswer(one.outcome, one.job_id) for one in told.values()]
    [job] = jobs_of("twins")
    assert len(answers) == 50
    assert sorted(answers) == [DoorAnswer("accepted", job)] + [DoorAnswer("repeated", job)] * 49
    assert rows("SELECT count(*) FROM job") == [(1,)]
    one_person_is_enrolled_once()


@pytest.mark.parametrize("first", DOORS)
def test_another_body_is_a_conflict_at_each_door(
    processes: Processes, ask: Callable[..., DoorAnswer], first: str
) -> None:
    processes.worker("requests", "enrollments")
    job = ask(first, "order").job
    refused = {door: ask(door, "order", "Zora") for door in DOORS}
    assert {one.outcome for one in refused.values()} == {"conflict"}
    assert refused["http"].job == ""
    kept = "SELECT id, state, error ->> 'code' FROM job WHERE state = 'refused' ORDER BY id"
    at_queues = sorted(one.job for one in refused.values() if one.job)
    assert rows(kept) != []
    assert {(str(one), state, code) for one, state, code in rows(kept)} == {
        (one, "refused", "idempotency_conflict") for one in at_queues
    }
    assert jobs_of("order") == [job]
    assert [ask(door, "order") for door in DOORS] == [DoorAnswer("repeated", job)] * 3
    one_person_is_enrolled_once()


def reader_of(door: str) -> int:
    """Returns the number of the process that reads a queue door, or 0."""
    with client() as opened:
        holder = opened.get(lease_key(os.environ["REDIS_NAMESPACE"], "streams" if door == "stream" else "requests"))
    return int(holder.decode().split(":")[1]) if isinstance(holder, bytes) else 0


@contextmanager
def nothing_is_recorded() -> Iterator[None]:
    """Keeps every process from recording a key during the block."""
    with transaction() as session:
        session.execute(text("LOCK TABLE idempotency IN ACCESS EXCLUSIVE MODE"))
        yield


@contextmanager
def nothing_can_be_deleted() -> Iterator[Callable[[], None]]:
    """Yields what forbids scripts in Redis until the block ends: readers of doors delete and answer by scripts."""

    def allow(scripts: str) -> None:
        with client() as opened:
            opened.execute_command("ACL", "SETUSER", "default", f"{scripts}eval", f"{scripts}evalsha")

    try:
        yield lambda: allow("-")
    finally:
        allow("+")


def requests_left() -> tuple[int, int]:
    """Counts the requests in the stream of the portal and in the list."""
    with client() as opened:
        return opened.xlen(stream()), opened.hlen(f"{os.environ['REDIS_NAMESPACE']}:requests.msgs")


def no_request_is_left() -> None:
    wait_until(lambda: requests_left() == (0, 0), say=lambda: str(requests_left()))


@pytest.mark.parametrize("door", ["stream", "list"])
def test_what_a_killed_reader_recorded_is_the_same_job_at_every_door(
    processes: Processes, ask: Callable[..., DoorAnswer], door: Door
) -> None:
    demo()
    reader = processes.worker("requests", "enrollments", LEASE_SECONDS=str(LEASE))
    wait_until(lambda: reader_of(door), say=processes.logs)
    waits = "SELECT 1 FROM pg_locks WHERE relation = CAST('idempotency' AS regclass) AND NOT granted"
    with nothing_can_be_deleted() as from_now_on:
        with nothing_is_recorded():
            message = by_queue(door, "order", request())
            wait_until(lambda: rows(waits), say=processes.logs)
            from_now_on()
        wait_until(lambda: jobs_of("order"), say=processes.logs)
        processes.kill(reader)
    [job] = jobs_of("order")
    assert ask("http", "order") == DoorAnswer("repeated", job)
    processes.clock()  # what the killed reader had begun as well is given to another
    processes.worker("requests", "enrollments")
    wait_until(lambda: reader_of(door), seconds=HOLD_SECONDS + 10, say=processes.logs)
    told = answers_to({message}, processes)[message]
    assert (told.outcome, told.job_id) == ("repeated", job)
    assert [ask(one, "order") for one in DOORS] == [DoorAnswer("repeated", job)] * 3
    assert ask("http", "order", "Zora").outcome == "conflict"
    no_request_is_left()
    assert rows("SELECT count(*) FROM job WHERE kind = 'enroll'") == [(1,)]
    one_person_is_enrolled_once()
