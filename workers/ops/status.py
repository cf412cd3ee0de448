"""Reads the state of Matricule: queues, mails, processes, problems, and whether seats add up.

It costs the same whatever the tables hold: it reads the ends of indexes, counts to a cap, and takes what needs whole
tables, the comparison of seats, from the job that does it each hour.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.catalog.contracts import list_contracts
from workers.database import APPLICATION, Session, sql_state
from workers.engine.ledger import EMAILS
from workers.engine.rollout import ALIVE_SECONDS
from workers.engine.set_back import FURTHEST_TERM, read_set_back
from workers.engine.slots import is_void
from workers.logs import masked
from workers.ops.capped import CAPS, StatusCaps, read_by_index
from workers.ops.expected_files import find_missing_files
from workers.ops.facts import ScheduleState, read_facts, read_schedules
from workers.ops.pauses import read_pauses
from workers.ops.problems import (
    find_inboxes,
    find_problems,
    find_problems_of_redis,
    find_relays,
    find_unprintable,
)
from workers.ops.queue_counts import QueueReading, count_mails, count_queues, with_dead
from workers.ops.reconciliation import Reconciliation, find_uncompared, read_reconciliation
from workers.ops.redis_condition import RedisCondition
from workers.ops.small_facts import SmallFacts, read_small_facts
from workers.ops.stuck import StuckCount, count_stuck, find_stuck
from workers.ops.unrecorded import UnrecordedRequests
from workers.ops.unsent import find_unsent
from workers.ops.waiting import find_postponed, find_unknown_kinds
from workers.ops.webhooks import find_webhooks
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

# Reads every process with the age of its last heartbeat; `read_status` decides which are silent. A killed process has
# no connection; a process that was started later, with the same number, opened its own after the last heartbeat.
READ_PROCESSES = text("""
    SELECT pr.id, pr.kind, pr.release, pr.host, pr.pid,
      extract(epoch FROM now() - pr.started_at)::float8 AS age_seconds,
      extract(epoch FROM now() - pr.seen_at)::float8 AS seen_seconds_ago, pr.trouble,
      greatest(extract(epoch FROM pr.circuit_until - now()), 0)::float8 AS circuit_seconds, pr.circuit_reason,
      pr.drain_asked_at, pr.drain_by, pr.drain_reason, pr.drained_at,
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


class SeenProcess(NamedTuple):
    """A process, and the age of its last heartbeat in seconds.

    Parameters:
      trouble: why it does no work: the code of an error of Redis, or a word of its watchdog; None when it does.
      circuit_seconds: the time until its circuit breaker lets it send mails again.
      circuit_reason: why the breaker is not closed, a word of ``DeliveryReason``; None when it is.
      drain_asked_at: since when an operator lets it take nothing new, with who and why; None when it takes work.
      drained_at: since when it holds nothing any more.
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
    circuit_seconds: float | None
    circuit_reason: str | None
    drain_asked_at: datetime | None
    drain_by: str | None
    drain_reason: str | None
    drained_at: datetime | None
    connected: bool


class ClockLeader(NamedTuple):
    """The clock that leads, and the seconds left of its lease; host and pid are None after its process has left."""

    holder: UUID
    host: str | None
    pid: int | None
    seconds_left: float


def read_status(
    session: Session,
    unrecorded: UnrecordedRequests | None,
    redis: RedisCondition | None = None,
    *,
    compared: Reconciliation | None = None,
    caps: StatusCaps = CAPS,
) -> dict[str, Any]:
    """Reads the state of Matricule for operators, as JSON.

    Each statement sees the database as it is when the statement begins, and keeps no snapshot after its end.

    Parameters:
      unrecorded: the requests that wait in Redis (``count_unrecorded``), None when Redis does not answer.
      redis: how it works (``look_at_redis``), None when it does not answer.
      compared: a comparison of seats that was just made (``compare_now``); None to show the last one of the hour.
      caps: the numbers to which it counts.

    Keys: `at`; `requests` (waiting in Redis, oldest_seconds, reader, given_back, at_fault; None when Redis does not
    answer); `redis` (refusal, eviction, appendonly); `queues` (waiting, due_later, running, dead, oldest_due_seconds by
    queue; postponed work is due later; what waits behind it in its lane, or in a paused lane, is not counted as
    oldest); `pauses` of queues and lanes that are in force (``PauseInForce``); `mails` by state
    (`failed` includes refused addresses, `dead` does not); `suppressed_addresses`, the length of the suppression list;
    `corrections` of addresses and `name_corrections` that are pending (pending, oldest_seconds); `contracts` (the
    latest fifty with their three counters) and `contract_count`; `processes` with a heartbeat within ten seconds,
    `silent` ones without (frozen when they are `connected`, else killed), `missing` (the queues, or `clock`, that no
    process serves; one that an operator drains serves none);
    `clock`, its leader or None, and `clock_lag_seconds` since it last renewed its lead; `set_back`
    (seconds, at) when the clock of the database was ahead within a day; `void_schedules`, planned while it was;
    `database` (ages of the oldest transaction and snapshot, in seconds); `drift` as the last comparison of seats found
    it, `reconciled` (at, seconds ago, and the number of contracts with drift), None before the first; `relays`,
    `schedules`, `inboxes`, `totals` of what ever ended and `durations` in bands (``read_facts``); `cap`, and
    `at_least`: the numbers that reached it, so that there may be more (in a queue and in a problem the same word tells
    it of their numbers); `problems` (code, subject, count, and for problems of jobs and mails `rows` and `groups`) and
    `healthy`.
    """
    read_by_index(session)
    processes, silent = _processes(session)
    clock, set_back = fetch_one(session, ClockLeader, READ_CLOCK), read_set_back(session)
    queues, counted = count_queues(session, caps), count_stuck(session, caps)
    small, schedules = read_small_facts(session, caps), read_schedules(session)
    stuck, reconciled = find_stuck(session, counted, caps), compared or read_reconciliation(session)
    status: dict[str, Any] = {
        **small.as_json(caps),
        "requests": unrecorded.as_json() if unrecorded else None,
        "redis": redis._asdict() if redis else None,
        "queues": {name: counts.as_json() for name, counts in with_dead(queues.counts, stuck).items()},
        "pauses": read_pauses(session, caps),
        **_totals(session, _mails(queues, counted[EMAILS.table]), small, caps),
        "contracts": _read_contracts(session),
        "processes": processes,
        "silent": silent,
        "missing": missing(process["kind"] for process in processes if process["drain_asked_at"] is None),
        "clock": None if clock is None else as_json(clock),
        "set_back": None if set_back is None else as_json(set_back),
        "schedules": [as_json(one) for one in schedules],
        "void_schedules": [
            one.name for one in schedules if not one.paused and is_void(one.cron, one.next_run_at, small.at)
        ],
        "drift": reconciled.drift if reconciled else [],
        "reconciled": reconciled.as_json() if reconciled else None,
        **read_facts(session),
    }
    unsent = find_unsent(session, queues.busy[EMAILS.table], caps)
    others = _others(session, queues.busy, schedules, caps)
    rows = [*stuck, *unsent, *others, *find_uncompared(session, reconciled, schedules, small.at)]
    problems = find_problems(status, rows)
    return status | {"problems": problems, "healthy": not problems}


def status_without_database(
    error: Exception, redis: RedisCondition | None, unrecorded: UnrecordedRequests | None
) -> dict[str, Any]:
    """Returns what is known while PostgreSQL does not work: the keys of ``read_status``, `database` None.

    Parameters:
      error: the error that PostgreSQL, or the way to it, gave.
    """
    given = str(getattr(error, "orig", None) or "").strip().splitlines()
    away = {"code": "no_database", "subject": "database", "count": 1, "class": sql_state(error) or type(error).__name__}
    status: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(),
        "age_seconds": 0.0,
        "requests": unrecorded.as_json() if unrecorded else None,
        "redis": redis._asdict() if redis else None,
        "queues": {},
        "pauses": [],
        "database": None,
        "clock": None,
        "processes": [],
        "silent": [],
        "missing": [],
        "drift": [],
        "reconciled": None,
    }
    problems = [away | {"words": masked(given[0]) if given else ""}, *find_problems_of_redis(status)]
    return status | {"problems": problems, "healthy": False}


def _others(
    session: Session, busy: Mapping[str, Sequence[str]], schedules: Sequence[ScheduleState], caps: StatusCaps
) -> list[dict[str, Any]]:
    return [
        *find_postponed(session, busy, caps),
        *find_unknown_kinds(session, schedules, caps),
        *find_inboxes(session),
        *find_missing_files(session),
        *find_relays(session),
        *find_unprintable(session, caps),
        *find_webhooks(session, caps),
    ]


def _processes(session: Session) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Reads the processes: those that were heard of lately, and those that are silent."""
    seen = [as_json(process) for process in fetch(session, SeenProcess, READ_PROCESSES)]
    alive = [process for process in seen if abs(process["seen_seconds_ago"]) <= ALIVE_SECONDS]
    return alive, [process for process in seen if abs(process["seen_seconds_ago"]) > ALIVE_SECONDS]


def _mails(queues: QueueReading, stuck: Sequence[StuckCount]) -> dict[str, int]:
    """Returns the mails that wait, are being sent or ended without it, by state, as they were counted by queue."""
    found = Counter(queues.mails)
    for one in stuck:
        found[one.state] += one.total
    return dict(found)


def _totals(session: Session, counted: Mapping[str, int], small: SmallFacts, caps: StatusCaps) -> dict[str, Any]:
    """Counts mails by state, and says which numbers of the status reached the cap."""
    mails = count_mails(session, counted, caps)
    named = {f"mails.{state}": number for state, number in mails.items()} | small.numbers(caps)
    return {
        "mails": {state: number.number for state, number in mails.items()},
        "cap": caps.rows,
        "at_least": [name for name, number in named.items() if number.at_least],
    }


def missing(kinds: Iterable[str]) -> list[str]:
    """Lists the queues, or `clock`, that no live process serves; a process kind names its queues, or `clock`."""
    served = {name for kind in kinds for name in kind.split()}
    return [name for name in EXPECTED if name not in served]


def _read_contracts(session: Session) -> list[dict[str, Any]]:
    shown = list_contracts(session, limit=SHOWN_CONTRACTS)
    return [{name: getattr(contract, name) for name in CONTRACT_FIELDS} for contract in shown]
