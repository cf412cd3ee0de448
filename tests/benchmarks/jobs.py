"""Measures how fast the line `worker` of the Procfile does small waiting jobs, beside no-op messages."""

from tests.benchmarks.measure import ROUNDS, Figure, Run, alternate, ratio_figure, spread_figure
from tests.benchmarks.noop_limit import noop_limit
from tests.benchmarks.population import add_catalog, add_jobs, single
from tests.benchmarks.system import System
from tests.benchmarks.usage import per_piece, since

CONTRACTS = 50

RATE = """
    SELECT (count(*) - 1) / extract(epoch FROM max(finished_at) - min(finished_at)) FROM job
    WHERE state = 'succeeded'"""
FINISHED = "SELECT count(*) FROM job WHERE finished_at IS NOT NULL"
WAITING = "SELECT count(*) FROM (SELECT FROM job WHERE due_at IS NOT NULL AND leased_until IS NULL LIMIT 1) t"
RUNNING = "SELECT count(*) FROM (SELECT FROM job WHERE leased_until IS NOT NULL LIMIT 1) t"


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures twenty thousand requests for one person each, over fifty contracts."""
    count = 1_000 if short else 20_000
    series = alternate(lambda: noop_limit(system, count), lambda: jobs(system, count), rounds=1 if short else ROUNDS)
    return [
        ratio_figure("jobs", series, unit="jobs", goal=1.30, short=short),
        spread_figure("jobs, spread", series, short=short),
    ]


def jobs(system: System, count: int) -> Run:
    """Measures jobs per second, from the first finished to the last."""
    with system.trial() as trial:
        add_catalog(CONTRACTS)
        add_jobs([single(number, CONTRACTS) for number in range(count)])
        workers = trial.job_workers()
        meter = trial.meter(workers=workers)
        trial.wait(lambda: trial.number(FINISHED))
        before, earlier = meter.read(), trial.number(FINISHED)
        trial.wait(lambda: not trial.number(WAITING) and not trial.number(RUNNING))
        facts = {"CPU ms per job": per_piece(since(before, meter.read()), count - int(earlier))}
        refused = trial.number("SELECT count(*) FROM job WHERE state <> 'succeeded'")
        return Run(trial.number(RATE), facts | ({"jobs that did not succeed": f"{refused:.0f}"} if refused else {}))
