"""Measures a flood of messages on queue `requests` with waiting workers, from the first sending to the last enrollment.

The limit is a flood of messages that do nothing, sent the same way. So a sender uses this machine on both sides.
"""

from tests.benchmarks.measure import ROUNDS, Figure, Run, alternate, ratio_figure
from tests.benchmarks.noop_limit import noop_flood, send_beside
from tests.benchmarks.population import add_catalog
from tests.benchmarks.portal import add_sender
from tests.benchmarks.system import System
from tests.benchmarks.usage import per_piece, since
from workers.portal_client import Door

CONTRACTS = 50
BATCH = 200
"""The number of requests that a portal hands to `send_many` at once."""

LAST_COMMIT = "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin))) FROM enrollment"
ENROLLED = "SELECT count(*) FROM enrollment"
WAITED = "SELECT avg(extract(epoch FROM started_at - created_at)) FROM job"


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures twenty thousand requests for one person each, over fifty contracts: one by one, then many together."""
    return [
        _figure(system, "live", batch=1, goal=0.65, short=short),
        _figure(system, "live, send_many", batch=BATCH, goal=None, short=short),
    ]


def _figure(system: System, name: str, *, batch: int, goal: float | None, short: bool) -> Figure:
    count = 1_000 if short else 20_000
    series = alternate(
        lambda: noop_flood(system, count, batch=batch),
        lambda: flood(system, count, batch=batch),
        rounds=1 if short else ROUNDS,
    )
    return ratio_figure(name, series, unit="requests", goal=goal, short=short)


def flood(system: System, count: int, *, batch: int, door: Door = "list") -> Run:
    """Measures requests per second through a door, from the first sending to the last commit."""
    with system.trial() as trial:
        add_catalog(CONTRACTS, portal=add_sender(door))
        workers, clock = trial.job_workers(), trial.start("workers.cli", "clock")
        trial.wait_until_ready(3)
        meter = trial.meter(workers=workers, clock=clock)
        before = meter.read()
        sent = send_beside(trial, "tests.benchmarks.sender", str(count), str(CONTRACTS), str(batch))
        trial.wait(lambda: trial.number(ENROLLED) >= count)
        used = since(before, meter.read()) | {"sender": sent.cpu_seconds}
        ended = trial.number(LAST_COMMIT)
        facts = {
            "CPU ms per request": per_piece(used, count),
            "sender, requests/s": f"{sent.rate(count):,.0f}",
            "mean wait in the ledger": f"{trial.number(WAITED):.2f} s",
        }
        return Run(count / (ended - sent.began), facts)
