"""Reads the state of Matricule in one transaction: queues, mails, processes, problems, and whether seats add up."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, or_, text
from sqlmodel import col, select

from models.email import Email, Suppression
from workers.catalog.contracts import count_contracts, list_contracts
from workers.database import APPLICATION, Session
from workers.engine.ledger import JOBS, LEDGERS
from workers.engine.rollout import ALIVE_SECONDS
from workers.engine.set_back import FURTHEST_TERM, read_set_back
from workers.engine.slots import find_void_schedules
from workers.ops.problems import (
    DEAD,
    find_inboxes,
    find_postponed,
    find_problems,
    find_relays,
    find_rows,
    find_unknown_kinds,
    find_unprintable,
)
from workers.ops.reconciliation import find_drift
from workers.ops.redis_condition import RedisCondition
from workers.ops.unrecorded import UnrecordedRequests
from workers.requests.base import REQUESTS_QUEUE
from workers.requests.queues import Queue
from workers.sql import as_json, fetch, fetch_one

SHOWN_CONTRACTS: Final = 50

CONTRACT_FIELDS: Final = (
    *("portal", "reference", "company", "training"),
    *("planned_seats", "enrolled_count", "remaining"),
)
"""The fields of a contract that are shown (``ContractSeats``)."""

EXPECTED: Final = (REQUESTS_QUEUE, *(queue.value for queue in Queue), "clock")
"""The queues, and the clock, that need a running process each."""

# A pending correction is normal; one that waits for long may be a problem, so its age is read too.
COUNT_CORRECTIONS = text("""
    SELECT count(*) AS pending, extract(epoch FROM now() - min(ec.asked_at))::float8 AS oldest_seconds
    FROM email_correction ec WHERE ec.state = 'pending'""")

# Reads every process with the age of its last heartbeat; `read_status` decides which are silent. A killed process has
# no connection; a process that was started later, with the same number, opened its own after the last heartbeat.
READ_PROCESSES = text("""
    SELECT pr.id, pr.kind, pr.release, pr.host, pr.pid,
      extract(epoch FROM now() - pr.started_at)::float8 AS age_seconds,
      extract(epoch FROM now() - pr.seen_at)::float8 AS seen_seconds_ago, pr.trouble,
      EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.datname = current_database() AND a.backend_start <= pr.seen_at
        AND a.application_name = left(:matricule || pr.pid || '@' || pr.host, 63)) AS connected
    FROM process pr ORDER BY pr.kind, pr.host, pr.pid""").bindparams(matricule=APPLICATION)

# Reads the clock that leads; there is none after the lease of the last leader has run out, or while it cannot be.
READ_CLOCK = text("""
    SELECT cl.holder, pr.host, pr.pid, extract(epoch FROM cl.until - now())::float8 AS seconds_left
    FROM clock cl LEFT JOIN process pr ON pr.id = cl.holder
    WHERE cl.until > now() AND cl.until <= now() + make_interval(secs => :furthest)""").bindparams(
    furthest=FURTHEST_TERM
)

# PostgreSQL shows these times of other roles' sessions only to members of pg_read_all_stats; a role sees its own.
READ_OLDEST_TRANSACTION = text("""
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS transaction_seconds,
      coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) FILTER (WHERE backend_xmin IS NOT NULL), 0)
        ::float8 AS snapshot_seconds
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()""")

_WAITING: Final = "leased_until IS NULL AND due_at <= now()"

_IN_TURN: Final = f"""(queue, lane) NOT IN (SELECT p.queue, p.lane FROM {JOBS.table} p
    WHERE p.postponements > 0 AND p.due_at IS NOT NULL)"""
"""The condition of a job that does not wait for a postponed one of its lane: that is a problem of its own."""

COUNT_QUEUES: Final = {
    ledger.table: text(f"""
        SELECT queue, count(*) FILTER (WHERE {_WAITING}) AS waiting,
          count(*) FILTER (WHERE leased_until IS NULL AND due_at > now()) AS due_later,
          count(*) FILTER (WHERE leased_until IS NOT NULL) AS running,
          count(*) FILTER (WHERE {DEAD[ledger.table]}) AS dead,
          extract(epoch FROM now() - min(due_at) FILTER (
            WHERE {_WAITING} AND {_IN_TURN if ledger is JOBS else "true"}))::float8 AS oldest_due_seconds
        FROM {ledger.table} WHERE due_at IS NOT NULL OR leased_until IS NOT NULL OR ({DEAD[ledger.table]})
        GROUP BY queue""")
    for ledger in LEDGERS
}
"""The statement that counts the owed and dead rows of each ledger by queue."""


class PendingCorrections(NamedTuple):
    """The number of pending address corrections, and the age of the oldest in seconds."""

    pending: int
    oldest_seconds: float | None


class SeenProcess(NamedTuple):
    """A process, and the age of its last heartbeat in seconds.

    Parameters:
      trouble: why it fetches no work: the code of an error of Redis, or `stuck`; None when it does.
      connected: it has a connection to the database; a silent process without one was killed.
    """

    id: UUID
    kind: str
    release: str
    host: str
    pid: int
    age_seconds: float
    seen_seconds_ago: float
    trouble: str | None
    connected: bool


class ClockLeader(NamedTuple):
    """The clock that leads, and the seconds left of its lease; host and pid are None after its process has left."""

    holder: UUID
    host: str | None
    pid: int | None
    seconds_left: float


class TransactionAges(NamedTuple):
    """The ages of the oldest transaction and of the oldest snapshot, in seconds."""

    transaction_seconds: float
    snapshot_seconds: float


class QueueCounts(NamedTuple):
    """The rows of one queue by condition, and the age of the one that has been due longest, in seconds."""

    queue: str
    waiting: int = 0
    due_later: int = 0
    running: int = 0
    dead: int = 0
    oldest_due_seconds: float | None = None


def read_status(
    session: Session, unrecorded: UnrecordedRequests | None, redis: RedisCondition | None = None
) -> dict[str, Any]:
    """Reads the state of Matricule for operators, as JSON.

    Parameters:
      unrecorded: the requests that wait in Redis (``count_unrecorded``), None when Redis does not answer.
      redis: how it works (``look_at_redis``), None when it does not answer.

    Keys: `at`; `requests` (waiting in Redis, oldest_seconds; None when Redis does not answer); `redis` (refusal,
    eviction, appendonly); `queues` (waiting, due_later, running, dead, oldest_due_seconds by queue; postponed work is
    due later, and what waits behind it in its lane is not counted as oldest); `mails` by state (`failed`
    includes refused addresses, `dead` does not); `suppressed_addresses`, the length of the suppression list;
    `corrections` of addresses that are pending (pending, oldest_seconds); `contracts` (the latest fifty with their
    three counters) and `contract_count`; `processes` with a heartbeat within ten seconds, `silent` ones without (frozen
    when they are `connected`, else killed), `missing` (the queues, or `clock`, that no process serves); `clock`, its
    leader or None; `set_back` (seconds, at) when the clock of the database was ahead within a day; `void_schedules`,
    planned while it was; `database` (ages of the oldest transaction and snapshot, in seconds); `drift`; `problems`
    (code, subject, count, and `rows` for problems of jobs and mails) and `healthy`.
    """
    seen = [as_json(process) for process in fetch(session, SeenProcess, READ_PROCESSES)]
    processes = [process for process in seen if abs(process["seen_seconds_ago"]) <= ALIVE_SECONDS]
    clock = fetch_one(session, ClockLeader, READ_CLOCK)
    set_back = read_set_back(session)
    holds = or_(col(Suppression.until).is_(None), col(Suppression.until) > func.now())
    status: dict[str, Any] = {
        "at": session.exec(select(func.now())).one().isoformat(),
        "requests": unrecorded._asdict() if unrecorded else None,
        "redis": redis._asdict() if redis else None,
        "queues": _queues(session),
        "mails": _count_mails(session),
        "suppressed_addresses": session.exec(select(func.count()).select_from(Suppression).where(holds)).one(),
        "corrections": as_json(fetch(session, PendingCorrections, COUNT_CORRECTIONS)[0]),
        "contracts": _read_contracts(session),
        "contract_count": count_contracts(session),
        "processes": processes,
        "silent": [process for process in seen if abs(process["seen_seconds_ago"]) > ALIVE_SECONDS],
        "missing": missing(process["kind"] for process in processes),
        "clock": None if clock is None else as_json(clock),
        "set_back": None if set_back is None else as_json(set_back),
        "void_schedules": find_void_schedules(session),
        "database": as_json(fetch(session, TransactionAges, READ_OLDEST_TRANSACTION)[0]),
        "drift": [contract.as_json() for contract in find_drift(session)],
    }
    looked_for = (find_rows, find_postponed, find_unknown_kinds, find_inboxes, find_relays, find_unprintable)
    problems = find_problems(status, [problem for find in looked_for for problem in find(session)])
    return status | {"problems": problems, "healthy": not problems}


def missing(kinds: Iterable[str]) -> list[str]:
    """Lists the queues, or `clock`, that no live process serves; a process kind names its queues, or `clock`."""
    served = {name for kind in kinds for name in kind.split()}
    return [name for name in EXPECTED if name not in served]


def _count_mails(session: Session) -> dict[str, int]:
    by_state = select(Email.state, func.count()).group_by(Email.state).order_by(Email.state)
    return dict(session.exec(by_state).all())


def _read_contracts(session: Session) -> list[dict[str, Any]]:
    shown = [as_json(contract) for contract in list_contracts(session, limit=SHOWN_CONTRACTS)]
    return [{name: contract[name] for name in CONTRACT_FIELDS} for contract in shown]


def _queues(session: Session) -> dict[str, dict[str, Any]]:
    found = {queue.value: QueueCounts(queue.value) for queue in Queue}
    for ledger in LEDGERS:
        for counts in fetch(session, QueueCounts, COUNT_QUEUES[ledger.table]):
            found[counts.queue] = _added(found.get(counts.queue, QueueCounts(counts.queue)), counts)
    shown = {name: as_json(counts) for name, counts in found.items()}
    for counts_of_queue in shown.values():
        del counts_of_queue["queue"]
    return shown


def _added(one: QueueCounts, other: QueueCounts) -> QueueCounts:
    ages = [counts.oldest_due_seconds for counts in (one, other) if counts.oldest_due_seconds is not None]
    return QueueCounts(
        one.queue,
        waiting=one.waiting + other.waiting,
        due_later=one.due_later + other.due_later,
        running=one.running + other.running,
        dead=one.dead + other.dead,
        oldest_due_seconds=max(ages, default=None),
    )
