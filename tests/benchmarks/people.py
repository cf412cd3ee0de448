"""Measures withdrawals and progress of enrolled people, beside bare SQL that writes the same rows.

The people are written straight into the tables, each with a waiting invitation; an uncounted first run makes the rows
that the limit writes.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from models.words import Progress
from tests.benchmarks.measure import ROUNDS, Figure, Run, alternate, ratio_figure
from tests.benchmarks.population import add_catalog, contract, known_id
from tests.benchmarks.roster import PlainTable, read_back
from tests.benchmarks.system import System, Trial
from tests.benchmarks.usage import per_piece, since
from tests.kit.processes.support import rows
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.engine.broker import wake
from workers.requests.base import Request
from workers.requests.enrollment import (
    MAX_EVENTS,
    ProgressEvent,
    RecordProgress,
    Withdraw,
)

ADD_PEOPLE = text("""
    WITH people AS (SELECT * FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY t (id, n)),
    accounts AS (
      INSERT INTO account (id, email_norm, first_name, last_name, locale)
      SELECT id, 'salarie.' || n || '@societe.example', 'Zoé', 'Müller', 'fr' FROM people),
    places AS (
      INSERT INTO enrollment (id, contract_id, account_id) SELECT id, :contract, id FROM people),
    seats AS (
      INSERT INTO seat_movement (contract_id, enrollment_id, change) SELECT :contract, id, 1 FROM people),
    mails AS (
      INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
        account_id, enrollment_id, contract_id, due_at)
      SELECT id, 'invitation', 'emails_bulk', :contract, 'invitation:' || id, 'salarie.' || n || '@societe.example',
        'fr', '<' || id || '@societe.example>', now(), now() + interval '5 days', 'owed', id, id, :contract, now()
      FROM people)
    UPDATE contract SET enrolled_count = (SELECT count(*) FROM people) WHERE id = :contract""")

DONE: Final = "SELECT count(*) FROM job WHERE kind = :kind AND finished_at IS NOT NULL"
FAILED: Final = "SELECT count(*) FROM job WHERE kind = :kind AND (state <> 'succeeded' OR failures > 0)"

# From the start of the first job to the last commit, because `finished_at` is the start of a transaction.
SECONDS: Final = """
    SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)) - min(started_at)) FROM job WHERE kind = :kind"""


@dataclass(frozen=True)
class Inserts:
    """The rows of one table that the limit inserts; a condition separates the rows of the run from earlier ones."""

    table: str
    where: str


@dataclass(frozen=True)
class Case:
    """One figure.

    Parameters:
      requests: builds the requests for these enrollments.
      queue: the process line that does the work.
      step: the number of people in each transaction.
      goal: the smallest acceptable ratio.
      inserts: the rows that the work inserts.
      updates: the statements with which the limit changes rows; `ids` are the people of its step.
      values: a query of the other values for the updates, one row per person, ordered by the enrollment.
    """

    name: str
    kind: str
    requests: Callable[[Sequence[UUID]], list[Request]]
    queue: str
    step: int
    goal: float
    inserts: Sequence[Inserts]
    updates: Sequence[str]
    values: str = ""


def _withdraw(people: Sequence[UUID]) -> list[Request]:
    return [Withdraw(contract=contract(0), enrollment_ids=list(people))]


def _progress(people: Sequence[UUID]) -> list[Request]:
    """Reports that all people spent time and have a score, and that one in ten completes."""
    at = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
    events = [
        ProgressEvent(
            enrollment_id=one,
            progress=Progress.IN_PROGRESS if number % 10 else Progress.COMPLETED,
            occurred_at=at + timedelta(seconds=number),
            score=float(number % 100),
            time_spent_seconds=number,
        )
        for number, one in enumerate(people)
    ]
    return [RecordProgress(events=events[start : start + MAX_EVENTS]) for start in range(0, len(events), MAX_EVENTS)]


COLUMNS: Final = {
    "progress": "text",
    "started_at": "timestamptz",
    "completed_at": "timestamptz",
    "progress_at": "timestamptz",
    "score": "float8",
    "scored_at": "timestamptz",
    "time_spent_seconds": "int",
}

PROGRESS: Final = f"""
    UPDATE enrollment e SET {", ".join(f"{name} = t.{name}" for name in COLUMNS)}
    FROM unnest(%(ids)s::uuid[], {", ".join(f"%({name})s::{kind}[]" for name, kind in COLUMNS.items())})
      t (id, {", ".join(COLUMNS)}) WHERE e.id = t.id"""

WITHDRAWAL: Final = Case(
    name="withdrawal",
    kind="withdraw",
    requests=_withdraw,
    queue="rosters",
    step=10_000,
    goal=0.40,
    inserts=[
        Inserts("seat_movement", "change = -1"),
        Inserts("email", "kind = 'withdrawal'"),
        Inserts("job_person", "true"),
    ],
    updates=[
        "UPDATE enrollment SET withdrawn_at = now() WHERE id = ANY(%(ids)s::uuid[])",
        """
        UPDATE email SET state = 'cancelled', due_at = NULL, finished_at = now()
        WHERE enrollment_id = ANY(%(ids)s::uuid[])""",
        "UPDATE contract SET enrolled_count = enrolled_count - cardinality(%(ids)s::uuid[])",
    ],
)

EVENTS: Final = Case(
    name="progress",
    kind="record_progress",
    requests=_progress,
    queue="enrollments",
    step=MAX_EVENTS,
    goal=0.80,
    inserts=[
        Inserts("idempotency", "key LIKE 'certificate:%'"),
        Inserts("job", "kind = 'issue_certificate'"),
        Inserts("job_person", "true"),
    ],
    updates=[PROGRESS],
    values=f"SELECT {', '.join(COLUMNS)} FROM enrollment ORDER BY id",
)


def run_withdrawal(system: System, *, short: bool) -> list[Figure]:
    """Measures ten thousand people withdrawn by one request."""
    return _figure(system, WITHDRAWAL, 1_500 if short else 10_000, short=short)


def run_progress(system: System, *, short: bool) -> list[Figure]:
    """Measures twenty thousand events, a thousand in each request."""
    return _figure(system, EVENTS, 2_000 if short else 20_000, short=short)


def _figure(system: System, case: Case, count: int, *, short: bool) -> list[Figure]:
    limit = Limit(case, [known_id(f"person {number}") for number in range(count)])
    ours(system, limit, keep=True)
    series = alternate(lambda: bare(system, limit), lambda: ours(system, limit), rounds=1 if short else ROUNDS)
    return [ratio_figure(case.name, series, unit="rows", goal=case.goal, short=short)]


class Limit:
    """The rows that the limit writes, read back from a run of our code."""

    def __init__(self, case: Case, people: Sequence[UUID]) -> None:
        self.case = case
        self.people = sorted(people)
        self.tables: list[PlainTable] = []
        self.steps: list[dict[str, Any]] = []

    @property
    def written(self) -> int:
        """The number of inserted and changed rows: one per person and statement, and one for the contract."""
        inserted = sum(table.count for table in self.tables)
        each = sum("contract" not in statement for statement in self.case.updates)
        return inserted + each * len(self.people)

    def read(self, trial: Trial) -> None:
        """Stores the rows that a finished run wrote."""
        parts = -(-len(self.people) // self.case.step)
        self.tables = [read_back(trial, one.table, where=one.where, parts=parts) for one in self.case.inserts]
        starts = range(0, len(self.people), self.case.step)
        self.steps = [{"ids": self.people[start : start + self.case.step]} for start in starts]
        if self.case.values:
            found = rows(self.case.values)
            for start, step in zip(starts, self.steps, strict=True):
                columns = zip(*found[start : start + self.case.step], strict=True)
                step |= dict(zip(COLUMNS, map(list, columns), strict=True))


def ours(system: System, limit: Limit, *, keep: bool = False) -> Run:
    """Measures rows per second, from the start of the first job to the last commit."""
    case, count = limit.case, len(limit.people)
    with system.trial() as trial:
        _enrolled(limit.people)
        asked = case.requests(limit.people)
        alone = case.queue == "rosters"
        worker = trial.workers("rosters", processes=1, threads=2) if alone else trial.job_workers()
        trial.wait_until_ready(1 if alone else 2)  # a process that starts takes the processor from one that works
        meter = trial.meter(worker=worker)
        before = meter.read()
        with transaction() as session:
            for number, request in enumerate(asked):
                accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=f"bench-{number}")
        wake(asked[0].queue)
        trial.wait(lambda: trial.number(DONE, kind=case.kind) == len(asked))
        used = since(before, meter.read())
        failed = trial.number(FAILED, kind=case.kind)
        seconds = trial.number(SECONDS, kind=case.kind)
        if keep:
            limit.read(trial)
        facts = {
            "rows per person": f"{limit.written / count:.2f}",
            "people/s": f"{count / seconds:,.0f}",
            "CPU ms per person": per_piece(used, count),
        }
        return Run(limit.written / seconds, facts | ({"jobs that failed": f"{failed:.0f}"} if failed else {}))


def bare(system: System, limit: Limit) -> Run:
    """Measures rows per second of the same changes and inserts, with one commit per step, over one connection."""
    with system.trial() as trial:
        _enrolled(limit.people)
        meter = trial.meter()
        with system.connect(trial.name) as connection:
            before = meter.read() | {"client": time.process_time()}
            began = time.perf_counter()
            for number, step in enumerate(limit.steps):
                for statement in limit.case.updates:
                    connection.execute(statement.encode(), step)
                for table in limit.tables:
                    connection.execute(table.insert.encode(), table.chunks[number])
                connection.commit()
            seconds = time.perf_counter() - began
            used = since(before, meter.read() | {"client": time.process_time()})
    return Run(limit.written / seconds, {"CPU ms per person": per_piece(used, len(limit.people))})


def _enrolled(people: Sequence[UUID]) -> None:
    add_catalog(1)
    with transaction() as session:
        session.execute(ADD_PEOPLE, {"ids": list(people), "contract": known_id(contract(0))})
    with transaction() as session:
        session.execute(text("ANALYZE"))
