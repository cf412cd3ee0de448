"""The tests that kill processes use these: processes that are replaced when killed, people to enroll, final checks."""

import os
import random
import subprocess

import redis

from tests.kit.actors.messages import demo
from tests.kit.processes.support import Processes, change, rows
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.engine.broker import wake
from workers.requests.enrollment import Enroll, PersonToEnroll

LEASE = 2.0
"""The lease in seconds."""
QUEUES = ("requests", "enrollments", "maintenance")


class ReplacedProcesses:
    """Two workers and a clock; each killed process is replaced by a new one."""

    def __init__(self, processes: Processes, seed: int) -> None:
        self.processes = processes
        self.random = random.Random(seed)
        self.members = [self._start(kind) for kind in ("worker", "worker", "clock")]

    def _start(self, kind: str) -> tuple[str, "subprocess.Popen[bytes]"]:
        return kind, self.processes.clock() if kind == "clock" else self.processes.worker(*QUEUES)

    def lose_one(self) -> None:
        """Kills one process with SIGKILL, chosen at random, and starts another in its place."""
        place = self.random.randrange(len(self.members))
        kind, process = self.members[place]
        self.processes.kill(process)
        self.members[place] = self._start(kind)


def make_contracts(count: int, *, seats: int = 1_000) -> list[str]:
    """Creates this many contracts of the portal `demo`; returns their references."""
    portal_id = demo().portal_id
    change(
        "INSERT INTO company (id, portal_id, reference, name) VALUES (gen_random_uuid(), :portal, 'C', 'Lorval')",
        portal=portal_id,
    )
    change(
        "INSERT INTO training (id, portal_id, reference, title) VALUES (gen_random_uuid(), :portal, 'T', 'Hygiène')",
        portal=portal_id,
    )
    references = [f"K-{number}" for number in range(count)]
    change(
        "INSERT INTO contract (id, portal_id, reference, company_id, training_id, planned_seats)"
        " SELECT gen_random_uuid(), :portal, r, (SELECT id FROM company), (SELECT id FROM training), :seats"
        " FROM unnest(CAST(:references AS text[])) r",
        portal=portal_id,
        references=references,
        seats=seats,
    )
    return references


def request(number: int, contract: str) -> Enroll:
    """Returns a request to enroll one person."""
    person = PersonToEnroll(email=f"p{number}@example.com", first_name="Perle", last_name="Lorval")
    return Enroll(contract=contract, people=[person])


def accept_all(numbers: range, contracts: list[str]) -> None:
    """Accepts one request per number, on each contract in turn, and wakes the workers."""
    with transaction() as session:
        for number in numbers:
            asked = request(number, contracts[number % len(contracts)])
            accept(session, demo().portal_id, asked, asked.model_dump_json(), key=f"key-{number}")
    wake("enrollments")


def states() -> dict[object, object]:
    """Counts the enrollment jobs by state."""
    found = rows("SELECT state, count(*) FROM job WHERE kind = 'enroll' GROUP BY state")
    return {state: count for state, count in found}  # noqa: C416


def work_under_way() -> object:
    """Tells that a worker holds a row which a kill would not make dead, or that no work is left."""
    if not rows("SELECT 1 FROM job WHERE kind = 'enroll' AND due_at IS NOT NULL"):
        return True
    return rows("SELECT 1 FROM job WHERE leased_until IS NOT NULL HAVING max(rescues) < 2")


def each_is_enrolled_once(people: int, *, jobs: int | None = None) -> None:
    """Checks one account per address, one live enrollment and one mail for each person, and equal seat counts.

    Parameters:
      jobs: the number of jobs that did the work; one for each person if not given.
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


def flush_redis() -> None:
    """Deletes everything in Redis."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as opened:
        opened.flushall()
