"""Measures jobs, live requests and mails beside a history of a million rows and 10,000 lanes, and on a new database.

The new database, with as many lanes, is the limit: nothing of the hot paths may get slower with what has ended. `due`
is the statement by which the clock looks for due work each second, with 100,000 mails waiting on statistics from before
they were owed.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Final, NamedTuple

from sqlalchemy import text

from scripts.embedded.postgres import DATABASE
from tests.benchmarks.history import SMALL, HistorySize, add_history
from tests.benchmarks.measure import ROUNDS, Figure, Run, Series, delay_figure, ratio_figure
from tests.benchmarks.population import add_catalog, add_jobs, single
from tests.benchmarks.portal import add_sender, open_client
from tests.benchmarks.system import System, Trial
from tests.benchmarks.usage import per_piece, since
from tests.kit.processes.support import forget
from workers.database import transaction
from workers.engine.ledger import EMAILS
from workers.requests.enrollment import Enroll

GROWN: Final = "grown"
"""The template with the history."""

LEAST: Final = 0.90
FEW_CONTRACTS, MANY_CONTRACTS = 50, 10_000

RECENT: Final = "created_at > now() - interval '1 hour'"  # the history ended before today
DONE = f"SELECT count(*) FROM job WHERE {RECENT} AND finished_at IS NOT NULL"
JOBS_RATE = f"""
    SELECT (count(*) - 1) / extract(epoch FROM max(finished_at) - min(finished_at)) FROM job
    WHERE {RECENT} AND state = 'succeeded'"""
LAST_DONE = f"SELECT extract(epoch FROM max(finished_at)) FROM job WHERE {RECENT}"
OWED = "SELECT count(*) FROM email WHERE due_at IS NOT NULL AND leased_until IS NULL"
MAILS_RATE = f"""
    SELECT (count(*) - 1) / extract(epoch FROM max(finished_at) - min(finished_at)) FROM email
    WHERE {RECENT} AND state = 'sent'"""

# Owes mails that no statistics know of.
ADD_WAITING_MAILS = text("""
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
      due_at)
    SELECT gen_random_uuid(), 'invitation', 'emails_bulk', gen_random_uuid(), 'due-' || n, 'a@societe.example', 'fr',
      '<' || n || '@societe.example>', now(), now() + interval '5 days', 'owed', now()
    FROM generate_series(1, CAST(:count AS int)) n""")


class Sizes(NamedTuple):
    """The numbers of pieces of one run."""

    history: HistorySize
    jobs: int
    requests: int
    mails: int
    waiting: int
    contracts: int


LONG: Final = Sizes(HistorySize(), 10_000, 10_000, 4_000, 100_000, MANY_CONTRACTS)
SHORT: Final = Sizes(SMALL, 500, 500, 300, 2_000, FEW_CONTRACTS)


class Runs(NamedTuple):
    """The rates of one trial, and the milliseconds of each look for due work."""

    jobs: Run
    live: Run
    mails: Run
    due: list[float]


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures a new and a grown database alternately."""
    sizes = SHORT if short else LONG
    with _grown(system, sizes.history):
        new, grown = [_measure(system, DATABASE, sizes)], []
        for _ in range(1 if short else ROUNDS):
            grown.append(_measure(system, GROWN, sizes))
            new.append(_measure(system, DATABASE, sizes))
    figures = []
    for name, unit in (("jobs", "jobs"), ("live", "requests"), ("mails", "mails")):
        series = Series([getattr(one, name) for one in new], [getattr(one, name) for one in grown])
        figures.append(ratio_figure(f"growth, {name}", series, unit=unit, goal=LEAST, short=short))
    facts = {"waiting": f"{sizes.waiting:,}", "on a new database": f"{median(new[-1].due):.2f} ms"}
    looks = [look for one in grown for look in one.due]
    return [*figures, delay_figure("growth, due", looks, goal=1.0, facts=facts, short=short)]


@contextmanager
def _grown(system: System, size: HistorySize) -> Iterator[None]:
    """Makes the template with the history, and drops it at the end."""
    with system.trial() as trial:
        add_history(size)
        forget()
        system.postgres.create_database(GROWN, template=trial.name)
    try:
        yield
    finally:
        system.postgres.drop_database(GROWN)


def _measure(system: System, template: str, sizes: Sizes) -> Runs:
    with system.trial(template) as trial:
        portal = add_sender("list")
        add_catalog(sizes.contracts, portal=portal)
        jobs = [single(sizes.requests + number, sizes.contracts) for number in range(sizes.jobs)]
        add_jobs(jobs, portal=portal)
        workers = trial.job_workers()
        done = _jobs(trial, sizes.jobs)
        clock = trial.start("workers.cli", "clock")
        flood = _live(trial, sizes)
        trial.stop(workers)
        trial.stop(clock)
        mails = _mails(trial, sizes.mails)
        return Runs(done, flood, mails, _due(sizes.waiting))


def _jobs(trial: Trial, count: int) -> Run:
    meter = trial.meter(workers=trial.started[0])
    trial.wait(lambda: trial.number(DONE))
    before, earlier = meter.read(), trial.number(DONE)
    trial.wait(lambda: trial.number(DONE) >= count)
    facts = {"CPU ms per job": per_piece(since(before, meter.read()), count - int(earlier))}
    return Run(trial.number(JOBS_RATE), facts)


def _live(trial: Trial, sizes: Sizes) -> Run:
    """Measures requests per second, from the first sending to the last enrollment."""
    trial.wait_until_ready(3)
    began = _send([single(number, sizes.contracts) for number in range(sizes.requests)])
    trial.wait(lambda: trial.number(DONE) >= sizes.jobs + sizes.requests)
    return Run(sizes.requests / (trial.number(LAST_DONE) - began))


def _send(requests: Sequence[Enroll]) -> float:
    """Sends requests from this process, one after the other; returns when it sent the first."""
    client = open_client()
    began = time.time()
    for number, request in enumerate(requests):
        client.send(request, key=f"growth-{number}")
    client.close()
    return began


def _mails(trial: Trial, count: int) -> Run:
    """Measures mails per second, from the first recorded as sent to the last before the mailers are stopped."""
    port_file = trial.folder / "port"
    trial.start("tests.benchmarks.sink", str(port_file))
    trial.wait(port_file.exists)
    environment = {"SMTP_URL": f"smtp://127.0.0.1:{port_file.read_text()}?tls=off"}
    owed = trial.number(OWED)
    mailers = trial.workers("emails", processes=2, threads=2, **environment)
    trial.wait(lambda: trial.number(OWED) <= owed - count)
    trial.stop(mailers)
    return Run(trial.number(MAILS_RATE))


def _due(waiting: int) -> list[float]:
    """Measures the server's time for a look at the mails that are due, several times."""
    with transaction() as session:
        session.execute(ADD_WAITING_MAILS, {"count": waiting})
    explained = text(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {EMAILS.due_sql}")
    with transaction() as session:
        return [float(session.execute(explained).scalar_one()[0]["Execution Time"]) for _ in range(9)]
