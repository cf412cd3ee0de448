"""Measures the time of one request on an idle system, sent by message and by the ledger, from PostgreSQL's commit
times.
"""

import random
import time
from collections.abc import Sequence
from uuid import UUID

from tests.benchmarks.measure import Figure, delay_figure, percentile
from tests.benchmarks.population import add_catalog, single
from tests.benchmarks.portal import add_sender, open_client
from tests.benchmarks.system import System, Trial
from tests.benchmarks.usage import OtherWork
from tests.kit.processes.support import rows
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.engine.broker import wake

CONTRACTS = 50
PAUSES = (0.1, 0.4)  # seconds, long enough for the system to become idle again

COMMITS = """
    SELECT i.key, extract(epoch FROM pg_xact_commit_timestamp(i.xmin)),
      extract(epoch FROM pg_xact_commit_timestamp(e.xmin))
    FROM enrollment e JOIN idempotency i ON i.job_id = e.job_id"""


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures two hundred requests one by one, for each of the two ways in."""
    count = 20 if short else 200
    with system.trial() as trial:
        portal = add_sender("list")
        add_catalog(CONTRACTS, portal=portal)
        workers, clock = trial.job_workers(), trial.start("workers.cli", "clock")
        trial.wait_until_ready(3)
        work = OtherWork(trial.meter(workers=workers, clock=clock))
        accepted = _through_the_ledger(trial, portal, count)
        sent = _through_the_queue(trial, count)
        others = work.share()
    longest = [percentile(sent, 95)]
    return [
        delay_figure("latency, ledger", accepted, goal=18, facts=_spread(accepted), short=short, others=others),
        delay_figure("latency, queue", sent, goal=18, facts=_spread(sent), short=short, others=others),
        delay_figure("latency, queue, p95", longest, goal=25, facts={}, short=short, others=others),
    ]


def _through_the_ledger(trial: Trial, portal: UUID, count: int) -> list[float]:
    """Returns the milliseconds from the commit that accepts a request to the commit that enrolls."""
    for number in range(count):
        request = single(number, CONTRACTS)
        with transaction() as session:
            recorded = accept(session, portal, request, request.model_dump_json(), key=f"ledger-{number}")
        wake(recorded.queue)
        _pause()
    return [1000 * (done - committed) for committed, done in _commits(trial, "ledger", count).values()]


def _through_the_queue(trial: Trial, count: int) -> list[float]:
    """Returns the milliseconds from the sending of a request to the commit that enrolls."""
    client = open_client()
    sent = {}
    for number in range(count):
        request, key = single(1_000_000 + number, CONTRACTS), f"queue-{number}"
        sent[key] = time.time()
        client.send(request, key=key)
        _pause()
    client.close()
    return [1000 * (done - sent[key]) for key, (_, done) in _commits(trial, "queue", count).items()]


def _commits(trial: Trial, door: str, count: int) -> dict[str, tuple[float, float]]:
    """Returns by key when each request was accepted and when it was done."""

    def read() -> dict[str, tuple[float, float]]:
        found = ((str(key), float(str(first)), float(str(last))) for key, first, last in rows(COMMITS))
        return {key: (first, last) for key, first, last in found if key.startswith(door)}

    trial.wait(lambda: len(read()) >= count)
    return read()


def _pause() -> None:
    time.sleep(random.uniform(*PAUSES))


def _spread(milliseconds: Sequence[float]) -> dict[str, str]:
    return {
        "p50 / p95 / longest": " / ".join(f"{percentile(milliseconds, part):.0f}" for part in (50, 95, 100)) + " ms",
    }
