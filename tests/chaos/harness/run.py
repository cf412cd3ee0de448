"""One run: set up, storm, healing, checks."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.harness.checks import Findings, Violation, find_violations
from tests.chaos.harness.clients import Client, World
from tests.chaos.harness.evidence import read_evidence
from tests.chaos.harness.files import FileClient, watch_inbox
from tests.chaos.harness.history import History
from tests.chaos.harness.nemesis import Nemesis
from tests.chaos.harness.plan import PlannedFault, write_plan
from tests.chaos.harness.portal import Portal
from tests.chaos.harness.sampler import Sampler
from tests.chaos.harness.settling import BREAKER_SECONDS, Settling
from tests.chaos.harness.system import ChaosSystem
from workers.requests.base import Request
from workers.requests.catalog import PutCompany, PutContract, PutTraining

CLIENTS: Final = 8
ROOMY, TIGHT = 4, 3
FILE_SECONDS: Final = 60.0
"""Files are dropped in storms that last at least this long: an inbox takes a file after a minute."""

PUT_ORGANISATION: Final = """
    WITH made AS (
      INSERT INTO organisation (id, reference, legal_name, signatory_name, signatory_quality, place)
      VALUES (gen_random_uuid(), 'of-1', 'Formation Pro SAS', 'Claire Martin', 'Directrice', 'Paris') RETURNING id)
    UPDATE portal SET organisation_id = (SELECT id FROM made) WHERE name = 'chaos'"""

PUT_ENDPOINT: Final = """
    INSERT INTO webhook_endpoint (id, portal_id, reference, url, master_id)
    SELECT gen_random_uuid(), id, 'hook', %(url)s, 'chaos' FROM portal WHERE name = 'chaos'"""


@dataclass(frozen=True)
class Orders:
    """The orders for one run.

    Parameters:
      seconds: how long the storm lasts.
      plan: the faults.
      clients: how many clients ask at once.
      patience: how long mails may take at the end, in seconds.
    """

    folder: Path
    seed: int
    seconds: float
    plan: Sequence[PlannedFault]
    clients: int = CLIENTS
    patience: float = BREAKER_SECONDS


@dataclass
class Outcome:
    """The results of a run."""

    orders: Orders
    findings: Findings
    samples: int = 0
    violations: list[Violation] = field(default_factory=list)


def carry_out(orders: Orders, tell: Callable[[str], None]) -> Outcome:
    """Does a run in its folder, which must exist and be empty."""
    write_plan(orders.folder / "plan.jsonl", orders.plan)
    history = History(orders.folder / "history.jsonl")
    try:
        with ChaosSystem(orders.folder, history) as system:
            return storm_and_judge(system, orders, tell)
    finally:
        history.close()


def storm_and_judge(system: ChaosSystem, orders: Orders, tell: Callable[[str], None]) -> Outcome:
    """Does a run on a system that was just started, and leaves it running."""
    giving_up, ending = threading.Event(), threading.Event()
    portal = Portal(system, system.history, random.Random(orders.seed), giving_up, f"chaos-{orders.seed}-setup")
    world = set_up(system, portal, files=orders.seconds >= FILE_SECONDS)
    tell(f"{system.history.now:7.1f} s  the storm begins: {orders.seconds:.0f} s, {len(orders.plan)} faults")
    sampler = Sampler(system)
    sampler.start()
    clients = start_clients(system, orders, world, ending=ending, giving_up=giving_up)
    storm(system, orders, tell)
    ending.set()
    tell(f"{system.history.now:7.1f} s  the storm is over; waiting until nothing is owed")
    settling = Settling(system, portal, tell, patience=orders.patience)
    if settling.until_nothing_is_owed(clients, giving_up):
        settling.call_the_roll()
        settling.until_nothing_is_owed((), giving_up)
    settling.look_at_processes()
    sampler.end()
    portal.close()
    return judge(system, orders, sampler.samples)


def storm(system: ChaosSystem, orders: Orders, tell: Callable[[str], None]) -> None:
    """Lets the nemesis work for as long as the storm lasts."""
    began = time.monotonic()
    nemesis = Nemesis(system, tell)
    over = threading.Timer(orders.seconds, nemesis.end)
    over.daemon = True
    over.start()
    nemesis.carry_out(orders.plan, began)
    time.sleep(max(0.0, began + orders.seconds - time.monotonic()))


def judge(system: ChaosSystem, orders: Orders, samples: int) -> Outcome:
    """Compares the history with the database."""
    with system.connect(autocommit=False) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        findings = Findings(system.history.events, read_evidence(connection))
    return Outcome(orders, findings, samples, find_violations(findings))


def start_clients(
    system: ChaosSystem, orders: Orders, world: World, *, ending: threading.Event, giving_up: threading.Event
) -> list[threading.Thread]:
    """Starts the client threads, each with a generator of its own."""
    runs: list[Callable[[], None]] = []
    for number in range(orders.clients):
        chances = random.Random(f"{orders.seed}:client:{number}")
        portal = Portal(system, system.history, chances, giving_up, f"chaos-{orders.seed}-{number}")
        runs += [Client(number, portal, world, chances, ending).run]
    if orders.seconds >= FILE_SECONDS:
        chances = random.Random(f"{orders.seed}:files")
        runs += [FileClient(system, chances, seconds=orders.seconds / 2).run]
    threads = [threading.Thread(target=run, name=f"client-{number}", daemon=True) for number, run in enumerate(runs)]
    for thread in threads:
        thread.start()
    return threads


def set_up(system: ChaosSystem, portal: Portal, *, files: bool) -> World:
    """Records company, training, contracts and the organisation that signs; returns their names."""
    roomy = [f"K-{number}" for number in range(ROOMY)]
    tight = [f"T-{number}" for number in range(TIGHT)]
    contracts = [_contract(name, 100_000) for name in (*roomy, "F-0")] + [_contract(name, 60) for name in tight]
    asked: list[Request] = [PutCompany(reference="C", name="Lorval"), PutTraining(reference="T", title="Hygiène")]
    system.credentials  # noqa: B018 - makes the portal
    system.rows(PUT_ENDPOINT, url=system.hooks.url)
    for request in (*asked, *contracts):
        portal.ask(request, expect=())
    system.rows(PUT_ORGANISATION)
    if files:
        watch_inbox(system)
    return World(roomy, tight)


def _contract(reference: str, seats: int) -> PutContract:
    return PutContract(reference=reference, company="C", training="T", planned_seats=seats, reminders=False)
