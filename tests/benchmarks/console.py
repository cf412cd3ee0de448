"""Measures what pages of the console cost beside years of history, and what open consoles cost the work."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from statistics import mean
from typing import Final
from uuid import UUID

import httpx2

from models.ops_user import Role
from tests.benchmarks import jobs
from tests.benchmarks.history import SMALL, HistorySize, add_history
from tests.benchmarks.measure import ROUNDS, Figure, bound_figure
from tests.benchmarks.ops_rows import SOUGHT, add_sought
from tests.benchmarks.participants import worst_figure
from tests.benchmarks.population import add_catalog, add_jobs, single
from tests.benchmarks.status import WAITING, add_troubles
from tests.benchmarks.system import System, Trial
from tests.benchmarks.usage import Meter, since
from tests.kit.console.visiting import PASSWORD, SAME_ORIGIN, make_user
from tests.kit.processes.support import rows
from tests.kit.processes.valkey import free_port
from tests.kit.processes.web_process import answers

NOW_GOAL: Final = 50.0
ROWS_GOAL: Final = 15.0
MORE_GOAL: Final = 5.0
"""Percent."""

PAGES: Final = 40
WARM: Final = 5
CONSOLES: Final = 3
REFRESH_SECONDS: Final = 5.0

JOB: Final = "SELECT id FROM job WHERE state = '{}' ORDER BY id LIMIT 1"
ACCOUNT: Final = "SELECT id FROM account WHERE email_norm = :email"


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures pages beside a history, then work with and without open consoles."""
    found = _pages(system, short=short)
    now, others = ({name: used for name, used in found.items() if (name == "now") is first} for first in (True, False))
    return [
        worst_figure("console, now", now, NOW_GOAL, short=short),
        worst_figure("console, rows", others, ROWS_GOAL, short=short),
        _open_consoles(system, short=short),
    ]


def _pages(system: System, *, short: bool) -> Mapping[str, Mapping[str, float]]:
    """Returns the milliseconds of CPU of each page, by kind of process."""
    with system.trial() as trial:
        add_history(SMALL if short else HistorySize())
        add_troubles(WAITING // 100 if short else WAITING)
        add_sought()
        dead, done = (_id(JOB.format(state)) for state in ("dead", "succeeded"))
        paths = {
            "now": "/ops",
            "jobs": "/ops/jobs",
            "dead jobs": "/ops/jobs?state=dead&kind=enroll",
            "jobs of a queue": "/ops/jobs?queue=enrollments",
            "dead job": f"/ops/jobs/{dead}",
            "done job": f"/ops/jobs/{done}",
            "mails": "/ops/mails",
            "errors": "/ops/errors",
            "person": f"/ops/people/{_id(ACCOUNT, email=SOUGHT)}",
        }
        with _console(trial) as (client, meter):
            found = {}
            for name, path in paths.items():
                _ask(client, path, WARM)
                before = meter.read()
                _ask(client, path, PAGES)
                found[name] = {kind: 1000 * spent / PAGES for kind, spent in since(before, meter.read()).items()}
            return found


def _id(statement: str, **parameters: object) -> object:
    [[found]] = rows(statement, **parameters)
    assert isinstance(found, UUID)
    return found


@contextmanager
def _console(trial: Trial) -> Iterator[tuple[httpx2.Client, Meter]]:
    """Starts the process for operators; yields a client that is signed in, and the meter of what its pages cost."""
    make_user("anne", Role.ADMIN)
    address = f"http://127.0.0.1:{(port := free_port())}"
    ops = trial.start("workers.cli", "ops", OPS_HOST="127.0.0.1", OPS_PORT=str(port))
    trial.wait(lambda: answers(address))
    with httpx2.Client(base_url=address, headers=SAME_ORIGIN, timeout=60, trust_env=False) as client:
        signed_in = client.post("/ops/sign-in", data={"name": "anne", "password": PASSWORD, "next": ""})
        assert signed_in.status_code == 303, signed_in.text
        yield client, trial.meter(ops=ops)


def _ask(client: httpx2.Client, path: str, times: int) -> None:
    for _ in range(times):
        client.get(path).raise_for_status()


def _open_consoles(system: System, *, short: bool) -> Figure:
    """Measures the CPU of a job with three consoles open on Now, beside the same without, in turn."""
    count, rounds = (1_000, 1) if short else (40_000, ROUNDS)
    without, beside = [_cpu_of_a_job(system, count, 0)], []
    for _ in range(rounds):
        beside.append(_cpu_of_a_job(system, count, CONSOLES))
        without.append(_cpu_of_a_job(system, count, 0))
    around = [mean(pair) for pair in pairwise(without)]
    more = [100 * (ours / theirs - 1) for ours, theirs in zip(beside, around, strict=True)]
    facts = {"ms a job": f"{mean(beside):.3f}, without {mean(without):.3f}"}
    return bound_figure("console, three open", more, at_most=MORE_GOAL, unit=" %", facts=facts, short=short)


def _cpu_of_a_job(system: System, count: int, consoles: int) -> float:
    """Returns the milliseconds of CPU of the workers, PostgreSQL, Valkey and the process for operators for a job."""
    with system.trial() as trial:
        add_catalog(jobs.CONTRACTS)
        add_jobs([single(number, jobs.CONTRACTS) for number in range(count)])
        with ExitStack() as opened:
            client, _ = opened.enter_context(_console(trial))
            _ask(client, "/ops", WARM)
            for number in range(consoles):
                opened.enter_context(_refreshed(client, number * REFRESH_SECONDS / max(consoles, 1)))
            workers = trial.job_workers()
            meter = trial.meter(workers=workers, ops=trial.started[0])
            trial.wait(lambda: trial.number(jobs.FINISHED))
            before, earlier = meter.read(), trial.number(jobs.FINISHED)
            trial.wait(lambda: not trial.number(jobs.WAITING) and not trial.number(jobs.RUNNING))
            spent = sum(since(before, meter.read()).values())
        return 1000 * spent / (count - earlier)


@contextmanager
def _refreshed(client: httpx2.Client, delay: float) -> Iterator[None]:
    """Asks for Now every five seconds, as an open page does, until the block ends."""
    closed = threading.Event()

    def refresh() -> None:
        wait = delay
        while not closed.wait(wait):
            client.get("/ops", headers={"X-Live": "1"})
            wait = REFRESH_SECONDS

    thread = threading.Thread(target=refresh, daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join()
