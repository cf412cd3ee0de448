"""What tests that kill processes share: a crew whose dead are replaced, people to enrol, each enrolled once."""

import os
import random
import subprocess

import redis

from models.portal import LOCAL_PORTAL_ID
from tests.kit.processes.support import Processes, change, rows
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.engine.broker import wake
from workers.requests.enrollment import Enroll, PersonToEnroll

LEASE = 2.0
"""Seconds."""
QUEUES = ("requests", "enrollments", "maintenance")


class ReplacedProcesses:
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
    """So many contracts; their references."""
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
    """Asks for one person to be enrolled."""
    person = PersonToEnroll(email=f"p{number}@example.com", first_name="Perle", last_name="Lorval")
    return Enroll(contract=contract, people=[person])


def accept_all(numbers: range, contracts: list[str]) -> None:
    """Takes one request a number, the contracts in turn, and rings."""
    with transaction() as session:
        for number in numbers:
            asked = request(number, contracts[number % len(contracts)])
            accept(session, LOCAL_PORTAL_ID, asked, asked.model_dump_json(), key=f"key-{number}")
    wake("enrollments")


def states() -> dict[object, object]:
    """How many jobs of enrolling are in each state."""
    found = rows("SELECT state, count(*) FROM job WHERE kind = 'enroll' GROUP BY state")
    return {state: count for state, count in found}  # noqa: C416


def work_under_way() -> object:
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


def flush_redis() -> None:
    """Redis forgets everything."""
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as opened:
        opened.flushall()
