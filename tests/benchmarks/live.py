"""Measures a flood of messages on queue `requests` with waiting workers, from the first sending to the
last enrollment.
"""

import subprocess

from tests.benchmarks.measure import ROUNDS, Figure, Run, alternate, ratio_figure
from tests.benchmarks.noop_limit import noop_limit
from tests.benchmarks.population import add_catalog
from tests.benchmarks.system import System, Trial
from tests.benchmarks.usage import per_piece, since

CONTRACTS = 50

LAST_COMMIT = "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin))) FROM enrollment"
ENROLLED = "SELECT count(*) FROM enrollment"
WAITED = "SELECT avg(extract(epoch FROM started_at - created_at)) FROM job"


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures twenty thousand requests for one person each, over fifty contracts."""
    count = 1_000 if short else 20_000
    series = alternate(lambda: noop_limit(system, count), lambda: flood(system, count), rounds=1 if short else ROUNDS)
    return [ratio_figure("live", series, unit="requests", goal=0.25, short=short)]


def flood(system: System, count: int) -> Run:
    """Measures requests per second."""
    with system.trial() as trial:
        add_catalog(CONTRACTS)
        workers, clock = trial.job_workers(), trial.start("workers.cli", "clock")
        trial.wait_until_ready(3)
        meter = trial.meter(workers=workers, clock=clock)
        before = meter.read()
        began, sent, sender_seconds = _send(trial, count)
        trial.wait(lambda: trial.number(ENROLLED) >= count)
        used = since(before, meter.read()) | {"sender": sender_seconds}
        ended = trial.number(LAST_COMMIT)
        facts = {
            "CPU ms per request": per_piece(used, count),
            "sender, requests/s": f"{count / (sent - began):,.0f}",
            "mean wait in the ledger": f"{trial.number(WAITED):.2f} s",
        }
        return Run(count / (ended - began), facts)


def _send(trial: Trial, count: int) -> tuple[float, float, float]:
    """Returns when the sender sent the first and the last request, and the CPU it used, including its start."""
    sender = trial.start("tests.benchmarks.sender", str(count), str(CONTRACTS))
    output = trial.folder / f"{len(trial.started) - 1}.log"
    meter = trial.meter(sender=sender)
    used = 0.0
    while sender.poll() is None:
        used = max(used, meter.read()["sender"])
        try:
            sender.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    began, sent = map(float, output.read_text().split())
    return began, sent, used
