"""Measures what the readings of operators cost on a platform that has run for years, and what they cost the work.

The first are milliseconds of CPU of Python and PostgreSQL together. The second is the log that PostgreSQL writes for
claiming and finishing a job, with the indexes that only operators need and without them, alternately.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from statistics import mean, median
from typing import Final
from uuid import UUID

from sqlalchemy import text

from models.words import JobState
from tests.benchmarks.history import SMALL, HistorySize, add_history
from tests.benchmarks.measure import ROUNDS, Figure, bound_figure
from tests.benchmarks.ops_rows import add_sought
from tests.benchmarks.population import add_catalog, add_jobs, single
from tests.benchmarks.status import WAITING, add_troubles
from tests.benchmarks.system import System
from tests.kit.processes.support import PROJECT
from workers.database import get_engine, transaction
from workers.engine.ledger import JOBS, WorkOutcome, claim, finish, hold

SNAPSHOT_GOAL: Final = 50.0
WHY_GOAL: Final = 15.0
PERSON_GOAL: Final = 500.0
WAL_GOAL: Final = 10.0
"""Percent."""

CLAIMED: Final = 5_000
CONTRACTS: Final = 50
AT_ONCE: Final = 100

FOR_OPERATORS: Final = ("ix_job_finished_at", "ix_job_of_trouble")
"""The indexes of `job` that came with what operators need (migrations 0021 to 0024); a claim or an end writes them, or
might. What gave up was indexed before, without the condition of dismissal; actions, pauses and tokens are tables."""

LOG_POSITION: Final = "SELECT CAST(pg_current_wal_insert_lsn() - '0/0' AS float8)"
CLAIMER: Final = UUID(int=1)

OUTCOME: Final = {
    "counts": {"enrolled": 1},
    "seats": 1,
    "people": [{"position": 0, "code": "enrolled", "account_id": "0" * 36, "enrollment_id": "0" * 36}],
}

Reading = Mapping[str, Mapping[str, float]]


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures three processes that read, and the log of three runs with these indexes between four without."""
    with system.trial():
        add_history(SMALL if short else HistorySize())
        add_troubles(WAITING // 100 if short else WAITING)
        add_sought()
        readings = [_read() for _ in range(1 if short else ROUNDS)]
    return [
        _dearest("ops, snapshot", readings, "snapshot", SNAPSHOT_GOAL, short=short),
        _dearest("ops, why", readings, "why", WHY_GOAL, short=short),
        _dearest("ops, person", readings, "person", PERSON_GOAL, short=short),
        _errors(readings, short=short),
        _log_figure(system, short=short),
    ]


def _read() -> Reading:
    """Reads everything in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.ops_reader"]
    ended = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True)
    reading: Reading = json.loads(ended.stdout)
    return reading


def _dearest(name: str, readings: Sequence[Reading], kind: str, goal: float, *, short: bool) -> Figure:
    """Builds the figure of the dearest reading of a kind, by a process that is asked again and again."""
    names = [one for one in readings[0] if one.partition(" ")[0] == kind]
    values = [max(_later(reading[one]) for one in names) for reading in readings]
    facts = {one: _told([reading[one] for reading in readings]) for one in names}
    return bound_figure(name, values, at_most=goal, unit=" ms", facts=facts, short=short)


def _errors(readings: Sequence[Reading], *, short: bool) -> Figure:
    """Builds the figure of the errors in groups, which reads all that gave up; no goal was set."""
    figure = _dearest("ops, errors", readings, "errors", float("inf"), short=True)
    return Figure(figure.name, "none", figure.values, figure.unit, figure.verdict, figure.facts)


def _later(spent: Mapping[str, float]) -> float:
    return spent["python"] + spent["postgresql"]


def _told(spent: Sequence[Mapping[str, float]]) -> str:
    python, postgresql, first = (median(one[part] for one in spent) for part in ("python", "postgresql", "first"))
    return f"python {python:.1f}, postgresql {postgresql:.1f}; the first of a process {first:.1f}"


def _log_figure(system: System, *, short: bool) -> Figure:
    """Measures the bytes of log for each job, without these indexes, with them, without, and so on."""
    count, rounds = (500, 1) if short else (CLAIMED, ROUNDS)
    with _plain_log(system):
        without, today = [_log_bytes(system, count, FOR_OPERATORS)], []
        for _ in range(rounds):
            today.append(_log_bytes(system, count, ()))
            without.append(_log_bytes(system, count, FOR_OPERATORS))
    around = [mean(pair) for pair in pairwise(without)]
    more = [100 * (ours / theirs - 1) for ours, theirs in zip(today, around, strict=True)]
    facts = {"bytes a job": f"{median(today):,.0f}, without {', '.join(FOR_OPERATORS)} {median(without):,.0f}"}
    return bound_figure("ops, log of claim and finish", more, at_most=WAL_GOAL, unit=" %", facts=facts, short=short)


@contextmanager
def _plain_log(system: System) -> Iterator[None]:
    """Keeps whole pages and the work of the vacuum out of the log during the block."""
    settings = ("full_page_writes", "autovacuum")
    system.order(*(f"ALTER SYSTEM SET {one} = off" for one in settings), "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        system.order(*(f"ALTER SYSTEM RESET {one}" for one in settings), "SELECT pg_reload_conf()")


def _log_bytes(system: System, count: int, dropped: Sequence[str]) -> float:
    """Returns the bytes of log that claiming and finishing one of so many jobs takes."""
    with system.trial() as trial:
        with transaction() as session:
            for index in dropped:
                session.execute(text(f"DROP INDEX {index}"))
        add_catalog(CONTRACTS)
        add_jobs([single(number, CONTRACTS) for number in range(count)])
        before = trial.number(LOG_POSITION)
        done = _claim_and_finish()
        assert done == count, f"{done} of {count}"
        written = (trial.number(LOG_POSITION) - before) / count
        get_engine().dispose()
        return written


def _claim_and_finish() -> int:
    """Claims all jobs and finishes them with the usual result, as a worker does; returns how many."""
    done = 0
    while True:
        with transaction() as session:
            rows = claim(session, JOBS, "enrollments", size=AT_ONCE, lease=30, worker=CLAIMER)
        if not rows:
            return done
        with transaction() as session:
            held = hold(session, JOBS, rows)
            finish(session, JOBS, [WorkOutcome(row.id, row.claim, JobState.SUCCEEDED, OUTCOME) for row in held])
        done += len(held)
