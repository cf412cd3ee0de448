"""Whatever is killed, flushed or stopped: what was accepted is done, once."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.portal import LOCAL_PORTAL_ID
from models.words import Policy
from scripts.embedded.places import SHORT_ROOT, places
from scripts.embedded.postgres import Postgres
from scripts.embedded.valkey import Valkey
from tests.messages import send
from tests.support import PROJECT, Processes, change, forget, rows, wait_until
from workers.broker import ring
from workers.clock import TERM_SECONDS
from workers.database import transaction
from workers.requests import Enroll, PersonToEnroll
from workers.services.acceptance import accept

LEASE = 2.0
QUEUES = ("requests", "enrollments", "maintenance")


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """A data folder whose servers may be killed; sockets included, it is gone after the test."""
    var = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-chaos-"))
    var.chmod(0o755)
    yield var
    where = places(var)
    for folder in {where.var, *where.outside}:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def valkey(fresh_database: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Valkey]:
    """A Valkey of this test's own."""
    server = Valkey(places(own_folder))
    server.start()
    monkeypatch.setenv("REDIS_URL", server.url)
    monkeypatch.setenv("LEASE_SECONDS", str(LEASE))
    forget()
    yield server
    forget()
    server.stop()


@pytest.fixture
def postgres(valkey: Valkey, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """A PostgreSQL of this test's own, which keeps what it committed."""
    server = Postgres(places(own_folder))
    server.start()
    monkeypatch.setenv("DATABASE_URL", server.url())
    forget()
    subprocess.run([sys.executable, "-m", "alembic", "upgrade", "head"], cwd=PROJECT, check=True, capture_output=True)
    yield server
    forget()
    server.stop()


class Crew:
    """Workers and a clock; any of them may be killed and is replaced."""

    def __init__(self, processes: Processes, seed: int) -> None:
        self.processes = processes
        self.random = random.Random(seed)
        self.members = [self._start(kind) for kind in ("worker", "worker", "clock")]

    def _start(self, kind: str) -> tuple[str, "subprocess.Popen[bytes]"]:
        return kind, self.processes.clock() if kind == "clock" else self.processes.worker(*QUEUES)

    def lose_one(self) -> None:
        """SIGKILL to one of them, and another in its place."""
        place = self.random.randrange(len(self.members))
        kind, process = self.members[place]
        self.processes.kill(process)
        self.members[place] = self._start(kind)


def make_contracts(count: int, *, seats: int = 1_000) -> list[str]:
    change(
        "INSERT INTO company (id, portal_id, reference, name) VALUES (gen_random_uuid(), :portal, 'C', 'Lorval')",
        portal=LOCAL_PORTAL_ID,
    )
    change(
        "INSERT INTO training (id, portal_id, reference, title) VALUES (gen_random_uuid(), :portal, 'T', 'Hygiène')",
        portal=LOCAL_PORTAL_ID,
    )
    references = [f"K-{number}" for number in range(count)]
    change(
        "INSERT INTO contract (id, portal_id, reference, company_id, training_id, planned_seats)"
        " SELECT gen_random_uuid(), :portal, r, (SELECT id FROM company), (SELECT id FROM training), :seats"
        " FROM unnest(CAST(:references AS text[])) r",
        portal=LOCAL_PORTAL_ID,
        references=references,
        seats=seats,
    )
    return references


def request(number: int, contract: str) -> Enroll:
    person = PersonToEnroll(email=f"p{number}@example.com", first_name="Perle", last_name="Lorval")
    return Enroll(contract=contract, people=[person])


def accept_all(numbers: range, contracts: list[str]) -> None:
    with transaction() as session:
        for number in numbers:
            asked = request(number, contracts[number % len(contracts)])
            accept(session, LOCAL_PORTAL_ID, asked, asked.model_dump_json(), key=f"key-{number}")
    ring("enrollments")


def states() -> dict[object, object]:
    found = rows("SELECT state, count(*) FROM job WHERE kind = 'enroll' GROUP BY state")
    return {state: count for state, count in found}  # noqa: C416


def under_way() -> object:
    """Somebody is at work on a row a kill would not bury, or there is nothing left to do."""
    if not rows("SELECT 1 FROM job WHERE kind = 'enroll' AND due_at IS NOT NULL"):
        return True
    return rows("SELECT 1 FROM job WHERE leased_until IS NOT NULL HAVING max(rescues) < 2")


def each_is_enrolled_once(people: int, *, jobs: int | None = None) -> None:
    """One account per address, one live enrollment and one owed mail each; counter = rows = ledger of seats.

    Parameters:
      jobs: how many jobs did it; each person's own if not given.
    """
    assert rows("SELECT count(*), count(DISTINCT email_norm) FROM account") == [(people, people)]
    assert rows(
        "SELECT count(*), count(DISTINCT account_id), count(DISTINCT job_id) FROM enrollment WHERE withdrawn_at IS NULL"
    ) == [(people, people, jobs or people)]
    assert rows("SELECT count(*), sum(change) FROM seat_movement") == [(people, people)]
    assert rows("SELECT sum(enrolled_count) FROM contract") == [(people,)]
    assert (
        rows(
            "SELECT 1 FROM contract c"
            " WHERE enrolled_count <> (SELECT count(*) FROM enrollment WHERE contract_id = c.id)"
        )
        == []
    )
    assert rows("SELECT count(*), count(DISTINCT enrollment_id), count(DISTINCT account_id) FROM email") == [
        (people, people, people)
    ]


def flush() -> None:
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as opened:
        opened.flushall()


def test_jobs_survive_kills_of_every_process_and_a_flushed_redis(valkey: Valkey, processes: Processes) -> None:
    contracts = make_contracts(6)
    crew = Crew(processes, seed=1)
    for round_number in range(8):
        accept_all(range(round_number * 40, round_number * 40 + 40), contracts)
        wait_until(under_way, say=lambda: f"{states()} {processes.logs()[-2000:]}")
        crew.lose_one()
        flush()
    started = processes.logs().count("process.started")
    wait_until(
        lambda: processes.logs().count("process.started") > started or states() == {"succeeded": 320},
        say=processes.logs,
    )
    wait_until(lambda: states() == {"succeeded": 320}, seconds=TERM_SECONDS + LEASE + 5, say=lambda: str(states()))
    each_is_enrolled_once(320)


def test_a_roster_in_chunks_survives_kills_in_the_middle_of_it(valkey: Valkey, processes: Processes) -> None:
    people = 8_000
    (contract,) = make_contracts(1, seats=people)
    asked = Enroll(
        contract=contract,
        people=[
            PersonToEnroll(email=f"p{number}@example.com", first_name="Perle", last_name="Lorval")
            for number in range(people)
        ],
        policy=Policy.UNTIL_FULL,
    )
    with transaction() as session:
        job_id = accept(session, LOCAL_PORTAL_ID, asked, asked.model_dump_json(), key="roster").job_id
    ring("rosters")

    def position() -> int:
        return int(str(rows("SELECT position FROM job WHERE id = :id", id=job_id)[0][0]))

    processes.clock()
    reached = []
    for _ in range(3):
        worker = processes.worker("rosters")
        before = position()
        wait_until(lambda: position() > before, say=processes.logs)  # noqa: B023
        processes.kill(worker)
        flush()
        reached.append(position())
    assert reached[-1] < people, "it was done before it could be killed three times"
    processes.worker("rosters")
    wait_until(lambda: states() == {"succeeded": 1}, say=lambda: f"{states()} {processes.logs()[-2000:]}")
    each_is_enrolled_once(people, jobs=1)
    assert rows("SELECT count(*), min(position), max(position), min(code), max(code) FROM job_person") == [
        (people, 0, people - 1, "enrolled", "enrolled")
    ]
    # Each chunk that was committed starts afresh.
    assert rows("SELECT rescues, failures FROM job WHERE id = :id", id=job_id) == [(0, 0)]


def test_requests_repeated_until_the_ledger_answers_are_done_once(valkey: Valkey, processes: Processes) -> None:
    contracts = make_contracts(4)
    crew = Crew(processes, seed=2)
    wanted = {f"key-{number}": request(number, contracts[number % 4]) for number in range(120)}
    answered: set[object] = set()
    for _ in range(4):
        for key, asked in wanted.items():
            if key not in answered:
                send(asked, key)
        known = len(answered)
        wait_until(lambda: len(rows("SELECT key FROM idempotency")) > known or known == 120)  # noqa: B023
        crew.lose_one()
        flush()
        answered = {key for (key,) in rows("SELECT key FROM idempotency")}
    for key, asked in wanted.items():
        send(asked, key)
    wait_until(lambda: states() == {"succeeded": 120}, say=lambda: f"{states()} {processes.logs()[-2000:]}")
    each_is_enrolled_once(120)


def test_a_job_that_kills_its_worker_is_buried_and_its_neighbours_are_done(
    valkey: Valkey, processes: Processes
) -> None:
    *contracts, held = make_contracts(6)
    accept_all(range(10), contracts)
    poison = request(99, held)
    with transaction() as session:
        job_id = accept(session, LOCAL_PORTAL_ID, poison, poison.model_dump_json(), key="poison").job_id
    processes.clock()

    def poison_row() -> tuple[object, ...]:
        return rows("SELECT state, rescues FROM job WHERE id = :id", id=job_id)[0]

    deaths = 0
    while poison_row()[0] != "dead":
        worker = processes.worker(*QUEUES)
        # The contract is held, so that the row stays at work until it is seen; then its worker dies of it. One that
        # was killed too late had postponed the row, which costs the row nothing.
        with transaction() as session:
            session.execute(text("SELECT 1 FROM contract WHERE reference = :r FOR UPDATE"), {"r": held})
            wait_until(lambda: poison_row()[0] == "running", say=lambda: f"{states()} {processes.logs()[-2000:]}")
            processes.kill(worker)
        wait_until(lambda: poison_row()[0] != "running", say=processes.logs)
        deaths += 1
        assert deaths < 20, poison_row()
    assert deaths >= 3
    assert poison_row() == ("dead", 3)
    processes.worker(*QUEUES)
    wait_until(lambda: states() == {"succeeded": 10, "dead": 1}, say=lambda: f"{states()} {processes.logs()[-2000:]}")
    ((error,),) = rows("SELECT error->>'class' FROM job WHERE id = :id", id=job_id)
    assert error == "WorkerLost"
    each_is_enrolled_once(10)


def test_a_crash_of_postgresql_loses_nothing(postgres: Postgres, processes: Processes) -> None:
    contracts = make_contracts(4)
    for _ in range(2):
        processes.worker(*QUEUES)
    processes.clock()
    accept_all(range(100), contracts)
    for number in range(100, 120):
        send(request(number, contracts[0]), f"key-{number}")
    wait_until(lambda: "succeeded" in states(), say=processes.logs)
    postgres.kill()
    for number in range(120, 140):
        send(request(number, contracts[0]), f"key-{number}")
    wait_until(lambda: "accept.waits" in processes.logs(), say=processes.logs)
    postgres.start()
    forget()

    def all_done() -> bool:
        try:
            return states() == {"succeeded": 140}
        except DBAPIError:
            return False

    wait_until(all_done, say=lambda: f"{states()} {processes.logs()[-2000:]}")
    each_is_enrolled_once(140)


def test_workers_outlive_an_outage_of_redis(valkey: Valkey, processes: Processes) -> None:
    contracts = make_contracts(4)
    for _ in range(2):
        processes.worker(*QUEUES)
    processes.clock()
    accept_all(range(50), contracts)
    wait_until(lambda: "succeeded" in states(), say=processes.logs)
    valkey.stop()
    accept_all(range(50, 60), contracts)
    wait_until(lambda: processes.logs().count("bell.not_rung") >= 2, say=processes.logs)
    valkey.start()
    wait_until(lambda: states() == {"succeeded": 60}, say=lambda: f"{states()} {processes.logs()[-2000:]}")
    for number in range(60, 80):
        send(request(number, contracts[0]), f"key-{number}")
    wait_until(lambda: states() == {"succeeded": 80}, seconds=10, say=lambda: f"{states()} {processes.logs()[-2000:]}")
    each_is_enrolled_once(80)
    assert all(process.poll() is None for process in processes.started)
