"""How Matricule is: what waits, what died, who works, whether the seats add up. One look, one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from workers.database import Session
from workers.engine.ledger import LEDGERS, Ledger
from workers.ops.problems import (
    DEAD,
    find_inboxes,
    find_problems,
    find_rows,
)
from workers.ops.reconciliation import find_drift
from workers.ops.unheard import UnrecordedRequests
from workers.requests.base import REQUESTS_QUEUE
from workers.requests.queues import Queue

ALIVE_SECONDS: Final = 10
"""A process that said nothing for that long is taken for silent; it speaks every two seconds."""

SHOWN_CONTRACTS: Final = 50

EXPECTED: Final = (REQUESTS_QUEUE, *(queue.value for queue in Queue), "clock")
"""What some process must do for Matricule to be whole."""

COUNT_MAILS = text("SELECT state, count(*) AS mails FROM email GROUP BY state ORDER BY state")

COUNT_SUPPRESSED = text("SELECT count(*) FROM suppression WHERE until IS NULL OR until > now()")

COUNT_CORRECTIONS = text("""
    SELECT count(*) AS pending, extract(epoch FROM now() - min(asked_at))::float8 AS oldest_seconds
    FROM email_correction WHERE state = 'pending'""")

READ_CONTRACTS = text("""
    SELECT p.name AS portal, c.reference, o.name AS company, t.title AS training, c.planned_seats, c.enrolled_count,
      c.planned_seats - c.enrolled_count AS remaining
    FROM contract c JOIN portal p ON p.id = c.portal_id JOIN company o ON o.id = c.company_id
    JOIN training t ON t.id = c.training_id ORDER BY c.id DESC LIMIT :shown""")

COUNT_CONTRACTS = text("SELECT count(*) FROM contract")

READ_PROCESSES = text("""
    SELECT id, kind, host, pid, extract(epoch FROM now() - started_at)::float8 AS age_seconds,
      extract(epoch FROM now() - seen_at)::float8 AS seen_seconds_ago
    FROM process ORDER BY kind, host, pid""")

READ_CLOCK = text("""
    SELECT c.holder, p.host, p.pid, extract(epoch FROM c.until - now())::float8 AS seconds_left
    FROM clock c LEFT JOIN process p ON p.id = c.holder WHERE c.until > now()""")

# Of other roles' sessions a role sees these times only as a member of pg_read_all_stats; ours are always seen.
READ_OLDEST_TRANSACTION = text("""
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS transaction_seconds,
      coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) FILTER (WHERE backend_xmin IS NOT NULL), 0)
        ::float8 AS snapshot_seconds
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()""")

READ_NOW = text("SELECT now()")


def read_status(session: Session, unheard: UnrecordedRequests | None) -> dict[str, Any]:
    """Everything ops look at first, as JSON.

    Parameters:
      unheard: what waits in Redis (``count_unheard``), None when Redis does not answer.

    Keys: `at`; `requests` (waiting in Redis, oldest_seconds; None when it does not answer); `queues` (waiting,
    due_later, running, dead, oldest_due_seconds by queue; what waits for an actor to come is due later); `mails` by
    state (`failed` counts the addresses that were refused too, `dead` does not); `suppressed_addresses`, how many
    are sent no mail; `corrections` of addresses that wait (pending, oldest_seconds); `contracts` (the latest fifty
    with their three counters) and `contract_count`; `processes` seen within ten seconds, `silent` ones that went
    without leaving, `missing` (queues, or `clock`, that nobody serves); `clock`, its leader or None; `database`
    (ages of the oldest transaction and snapshot, in seconds); `drift`; `problems` (code, subject, count, and `rows`
    where they are rows of a ledger) and `healthy`.
    """
    seen = _rows(session, READ_PROCESSES)
    processes = [process for process in seen if process["seen_seconds_ago"] <= ALIVE_SECONDS]
    clocks = _rows(session, READ_CLOCK)
    status: dict[str, Any] = {
        "at": session.execute(READ_NOW).scalar_one().isoformat(),
        "requests": unheard._asdict() if unheard else None,
        "queues": _queues(session),
        "mails": {row["state"]: row["mails"] for row in _rows(session, COUNT_MAILS)},
        "suppressed_addresses": session.execute(COUNT_SUPPRESSED).scalar_one(),
        "corrections": _rows(session, COUNT_CORRECTIONS)[0],
        "contracts": _rows(session, READ_CONTRACTS, shown=SHOWN_CONTRACTS),
        "contract_count": session.execute(COUNT_CONTRACTS).scalar_one(),
        "processes": processes,
        "silent": [process for process in seen if process["seen_seconds_ago"] > ALIVE_SECONDS],
        "missing": missing(process["kind"] for process in processes),
        "clock": clocks[0] if clocks else None,
        "database": _rows(session, READ_OLDEST_TRANSACTION)[0],
        "drift": [contract.as_json() for contract in find_drift(session)],
    }
    problems = find_problems(status, [*find_rows(session), *find_inboxes(session)])
    return status | {"problems": problems, "healthy": not problems}


def missing(kinds: Iterable[str]) -> list[str]:
    """What no process does, given the kinds of those alive: a kind names the queues one listens to, or `clock`."""
    served = {name for kind in kinds for name in kind.split()}
    return [name for name in EXPECTED if name not in served]


def _queues(session: Session) -> dict[str, dict[str, Any]]:
    found = {queue.value: _counts(None) for queue in Queue}
    for ledger in LEDGERS:
        for row in session.execute(_queues_sql(ledger)).mappings():
            found[row["queue"]] = _added(found.get(row["queue"], _counts(None)), _counts(row))
    return found


def _queues_sql(ledger: Ledger) -> Any:
    waiting, dead = "leased_until IS NULL AND due_at <= now()", DEAD[ledger.table]
    return text(f"""
        SELECT queue, count(*) FILTER (WHERE {waiting}) AS waiting,
          count(*) FILTER (WHERE leased_until IS NULL AND due_at > now()) AS due_later,
          count(*) FILTER (WHERE leased_until IS NOT NULL) AS running,
          count(*) FILTER (WHERE {dead}) AS dead,
          extract(epoch FROM now() - min(due_at) FILTER (WHERE {waiting}))::float8 AS oldest_due_seconds
        FROM {ledger.table} WHERE due_at IS NOT NULL OR leased_until IS NOT NULL OR ({dead})
        GROUP BY queue""")


def _counts(row: Mapping[Any, Any] | None) -> dict[str, Any]:
    names = ("waiting", "due_later", "running", "dead", "oldest_due_seconds")
    return {name: row[name] if row else (None if name == "oldest_due_seconds" else 0) for name in names}


def _added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    ages = [counts["oldest_due_seconds"] for counts in (one, other) if counts["oldest_due_seconds"] is not None]
    summed = {name: one[name] + other[name] for name in one if name != "oldest_due_seconds"}
    return summed | {"oldest_due_seconds": max(ages, default=None)}


def _rows(session: Session, statement: Any, **parameters: Any) -> Sequence[dict[str, Any]]:
    found = session.execute(statement, parameters).mappings()
    return [{name: _shown(value) for name, value in row.items()} for row in found]


def _shown(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value
