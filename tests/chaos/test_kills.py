"""Processes and servers are killed, flushed or stopped; every accepted request is still done once."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.words import Policy
from scripts.embedded.postgres import Postgres
from scripts.embedded.valkey import Valkey
from tests.kit.actors.messages import demo, send
from tests.kit.processes.killed import (
    LEASE,
    QUEUES,
    ReplacedProcesses,
    accept_all,
    each_is_enrolled_once,
    flush_redis,
    make_contracts,
    request,
    states,
    work_under_way,
)
from tests.kit.processes.support import (
    Processes,
    forget,
    rows,
    wait_until,
)
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.engine.broker import wake
from workers.engine.set_back import TERM_SECONDS
from workers.requests.enrollment import Enroll, PersonToEnroll

pytestmark = pytest.mark.heavy


def test_jobs_survive_kills_of_every_process_and_a_flushed_redis(valkey: Valkey, processes: Processes) -> None:
    contracts = make_contracts(6)
    crew = ReplacedProcesses(processes, seed=1)
    for round_number in range(8):
        accept_all(range(round_number * 40, round_number * 40 + 40), contracts)
        wait_until(work_under_way, say=lambda: f"{states()} {processes.logs()[-2000:]}")
        crew.lose_one()
        flush_redis()
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
        job_id = accept(session, demo().portal_id, asked, asked.model_dump_json(), key="roster").job_id
    wake("rosters")

    def position() -> int:
        return int(str(rows("SELECT position FROM job WHERE id = :id", id=job_id)[0][0]))

    processes.clock()
    reached = []
    for _ in range(3):
        worker = processes.worker("rosters")
        before = position()
        wait_until(lambda: position() > before, say=processes.logs)  # noqa: B023
        processes.kill(worker)
        flush_redis()
        reached.append(position())
    assert reached[-1] < people, "it was done before it could be killed three times"
    processes.worker("rosters")
    wait_until(lambda: states() == {"succeeded": 1}, say=lambda: f"{states()} {processes.logs()[-2000:]}")
    each_is_enrolled_once(people, jobs=1)
    assert rows("SELECT count(*), min(position), max(position), min(code), max(code) FROM job_person") == [
        (people, 0, people - 1, "enrolled", "enrolled")
    ]
    # Each committed chunk starts with no rescues.
    assert rows("SELECT rescues, failures FROM job WHERE id = :id", id=job_id) == [(0, 0)]


def test_requests_repeated_until_the_ledger_answers_are_done_once(valkey: Valkey, processes: Processes) -> None:
    contracts = make_contracts(4)
    crew = ReplacedProcesses(processes, seed=2)
    wanted = {f"key-{number}": request(number, contracts[number % 4]) for number in range(120)}
    answered: set[object] = set()
    for _ in range(4):
        for key, asked in wanted.items():
            if key not in answered:
                send(asked, key)
        known = len(answered)
        wait_until(lambda: len(rows("SELECT key FROM idempotency")) > known or known == 120)  # noqa: B023
        crew.lose_one()
        flush_redis()
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
        job_id = accept(session, demo().portal_id, poison, poison.model_dump_json(), key="poison").job_id
    processes.clock()

    def poison_row() -> tuple[object, ...]:
        return rows("SELECT state, rescues FROM job WHERE id = :id", id=job_id)[0]

    deaths = 0
    while poison_row()[0] != "dead":
        worker = processes.worker(*QUEUES)
        # A lock on the contract keeps the row running until the test sees it; then the worker is killed. A worker
        # that is killed too late has postponed the row, which does not count as a rescue.
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
    wait_until(lambda: processes.logs().count("wake.failed") >= 2, say=processes.logs)
    valkey.start()
    wait_until(lambda: states() == {"succeeded": 60}, say=lambda: f"{states()} {processes.logs()[-2000:]}")
    for number in range(60, 80):
        send(request(number, contracts[0]), f"key-{number}")
    wait_until(lambda: states() == {"succeeded": 80}, say=lambda: f"{states()} {processes.logs()[-2000:]}")
    each_is_enrolled_once(80)
    assert all(process.poll() is None for process in processes.started)
