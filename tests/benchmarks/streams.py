"""Measures the stream door: a flood of requests of one portal, from the first sending to the last enrollment.

Two limits run beside it: messages of dramatiq that do nothing, and the queue door of Matricule. A sender sends one at a
time, in a process of its own on this machine, and counts on each side.
"""

from tests.benchmarks.live import flood
from tests.benchmarks.measure import ROUNDS, Figure, interleave, ratio_figure
from tests.benchmarks.noop_limit import noop_flood
from tests.benchmarks.system import System


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures twenty thousand requests for one person each, over fifty contracts."""
    count = 1_000 if short else 20_000
    found = interleave(
        limits={
            "no-op": lambda: noop_flood(system, count),
            "queue": lambda: flood(system, count, batch=1, door="list"),
        },
        ours={"stream": lambda: flood(system, count, batch=1, door="stream")},
        rounds=1 if short else ROUNDS,
    )
    return [
        ratio_figure("stream", found.series("stream", "no-op"), unit="requests", goal=0.70, short=short),
        ratio_figure("stream / queue", found.series("stream", "queue").bare, unit="requests", goal=1.0, short=short),
    ]
