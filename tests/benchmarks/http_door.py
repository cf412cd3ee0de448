"""Measures enrolments accepted over HTTP by one web process at 50 connections, beside bare routes of FastAPI.

The bare routes insert a row for each request and do nothing else: one of them commits each by itself, the other all
that wait together. The same client asks all three in turn.
"""

from collections.abc import Sequence
from functools import partial
from statistics import median
from subprocess import Popen
from typing import Final

from models.portal import LOCAL_PORTAL_ID
from models.words import Scope
from tests.benchmarks.measure import ROUNDS, Figure, Interleaved, Run, bound_figure, interleave, ratio_figure
from tests.benchmarks.population import add_catalog, contract
from tests.benchmarks.system import System, Trial
from tests.benchmarks.usage import per_piece, since
from tests.kit.processes.support import change
from tests.kit.processes.valkey import free_port
from tests.kit.processes.web_process import answers
from workers.database import transaction
from workers.portals.keys import add_key

COUNT: Final = 10_000
CONNECTIONS: Final = 50
WARM: Final = 500
"""Requests before those that are measured: connections are opened, statements are prepared."""

GOAL: Final = 0.80
BATCH_GOAL: Final = 0.40
MOST_TAIL: Final = 5.0
"""The most that the 99th percentile may be of the median."""

MOST_BESIDE: Final = 1.5
"""The most that it may be, instead, of the 99th percentile of the bare route."""


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures the three in turn."""
    count = 500 if short else COUNT
    found = interleave(
        limits={name: partial(plain, system, f"/{name}", count) for name in ("one", "batch")},
        ours={"http": partial(ours, system, count)},
        rounds=1 if short else ROUNDS,
    )
    one, batch = (found.series("http", name) for name in ("one", "batch"))
    return [
        ratio_figure("http", one, unit="requests", goal=GOAL, short=short, beside="bare route"),
        ratio_figure("http / batch", batch.bare, unit="requests", goal=BATCH_GOAL, short=short, beside="bare batch"),
        tail_figure(found, short=short),
    ]


def tail_figure(found: Interleaved, *, short: bool) -> Figure:
    """Builds the figure of the slowest answers: as a share of what they may be, by the rule that allows more."""
    bare = median(run.numbers["p99"] for run in found.limits["one"])
    runs = found.ours["http"]
    allowed = [max(MOST_TAIL * run.numbers["median"], MOST_BESIDE * bare) for run in runs]
    shares = [run.numbers["p99"] / most for run, most in zip(runs, allowed, strict=True)]
    facts = {"ours": _delays(runs), "bare route": _delays(found.limits["one"])}
    return bound_figure("http p99 / allowed", shares, at_most=1.0, unit="", facts=facts, short=short)


def _delays(runs: Sequence[Run]) -> str:
    middle, last = (1000 * median(run.numbers[name] for run in runs) for name in ("median", "p99"))
    return f"median {middle:.1f} ms, p99 {last:.1f} ms"


def ours(system: System, count: int) -> Run:
    """Measures the web process of the Procfile."""
    with system.trial() as trial:
        add_catalog(1)
        change("UPDATE portal SET requests_per_minute = NULL")
        with transaction() as session:
            key = add_key(session, LOCAL_PORTAL_ID, scopes=set(Scope)).text
        change("ANALYZE")
        port = free_port()
        web = trial.start("workers.cli", "serve", HOST="127.0.0.1", PORT=str(port))
        trial.wait(lambda: answers(f"http://127.0.0.1:{port}"))
        return asked(trial, web, port, f"/v1/contracts/{contract(0)}/enrollments", key, count)


def plain(system: System, path: str, count: int) -> Run:
    """Measures a bare route."""
    with system.trial() as trial:
        change("CREATE TABLE plain_request (id uuid PRIMARY KEY, request json NOT NULL)")
        port = free_port()
        web = trial.start("tests.benchmarks.plain_routes", str(port))
        trial.wait(lambda: answers(f"http://127.0.0.1:{port}"))
        return asked(trial, web, port, path, "none", count)


def asked(trial: Trial, web: "Popen[bytes]", port: int, path: str, key: str, count: int) -> Run:
    """Measures requests per second of the client, from the first answer to the last."""
    _load(trial, port, path, key, WARM)
    meter = trial.meter(web=web)
    before = meter.read()
    rate, middle, last = _load(trial, port, path, key, count, first=WARM)
    used = per_piece(since(before, meter.read()), count)
    return Run(rate, {"CPU ms per request": used}, {"median": middle, "p99": last})


def _load(trial: Trial, port: int, path: str, key: str, count: int, first: int = 0) -> Sequence[float]:
    words = (f"http://127.0.0.1:{port}", path, key, str(first), str(count), str(CONNECTIONS))
    log = trial.folder / f"{len(trial.started)}.log"
    client = trial.start("tests.benchmarks.http_load", *words)
    trial.wait(lambda: client.poll() is not None)
    return [float(word) for word in log.read_text().split()]
