"""Decides which states are problems for an operator and which are normal load: the rules behind `healthy`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select

from models.contract import Contract
from models.delivery import DeliveryReason
from models.mails import quoted
from models.relay import REFUSAL_COUNTS
from models.roster import Inbox
from models.schedule import Schedule
from workers.database import Session
from workers.engine.ledger import (
    EMAILS,
    JOBS,
    LEDGERS,
)
from workers.ops.redis_condition import NO_EVICTION
from workers.requests.base import REQUESTS_QUEUE, lane_id
from workers.requests.queues import Queue
from workers.requests.registry import KINDS
from workers.sql import fetch

LATE_SECONDS: Final = 60.0
"""Seconds after which due work is late: its process runs without working, or the mail relay is away."""

LATE_IN_BULK_SECONDS: Final = 900.0
"""Seconds after which due work of the bulk queues is late: the mails of a large roster take minutes anyway."""

SILENT_SECONDS: Final = 60.0
"""Seconds without a heartbeat after which a process that is still connected is frozen, and must be restarted."""

BULK: Final = (Queue.ROSTERS, Queue.EMAILS_BULK, Queue.MAINTENANCE)

SHOWN_ROWS: Final = 10
"""The most rows that are listed for a problem, the oldest first."""

ADDRESS_REASONS: Final = (
    DeliveryReason.ADDRESS_REJECTED,
    DeliveryReason.ADDRESS_UNSENDABLE,
    DeliveryReason.RECIPIENT_REFUSED,
    DeliveryReason.MAILBOX_FULL,
)
"""Reasons that concern the recipient's address: a mail not sent for one of them is for the manager, not for ops."""

NOT_THE_ADDRESS: Final = "coalesce(error ->> 'reason', '') NOT IN ({})".format(
    ", ".join(f"'{reason}'" for reason in ADDRESS_REASONS)
)

DEAD: Final = {JOBS.table: "state = 'dead'", EMAILS.table: f"state = 'failed' AND {NOT_THE_ADDRESS}"}

CODE: Final = {
    JOBS.table: f"CASE WHEN {DEAD[JOBS.table]} THEN 'dead' END",
    EMAILS.table: f"""CASE
        WHEN {DEAD[EMAILS.table]} THEN 'dead'
        WHEN state = 'expired' AND {NOT_THE_ADDRESS} THEN 'expired'
        WHEN state = 'uncertain' AND due_at IS NULL THEN 'uncertain'
        WHEN (due_at IS NOT NULL OR leased_until IS NOT NULL) AND created_at < now() - interval '1 hour'
          AND {NOT_THE_ADDRESS} THEN 'unsent' END""",
}
"""The SQL value that names the problem of a row, for each ledger; NULL when it has none."""


FIND_PROBLEM_ROWS: Final = {
    ledger.table: text(f"""
        SELECT code, queue, id, kind, error_class, reason, total FROM (
          SELECT code, queue, id, kind, error ->> 'class' AS error_class, error ->> 'reason' AS reason,
            count(*) OVER (PARTITION BY code, queue) AS total,
            row_number() OVER (PARTITION BY code, queue ORDER BY id) AS place
          FROM (SELECT queue, id, kind, error, {CODE[ledger.table]} AS code FROM {ledger.table}) coded
          WHERE code IS NOT NULL) placed
        WHERE place <= {SHOWN_ROWS} ORDER BY code, queue, id""")
    for ledger in LEDGERS
}
"""The statement that finds the problems of each ledger, with their oldest rows and the number of all their rows."""


_LATE: Final = f"""created_at < now() - make_interval(secs =>
    CASE WHEN queue IN ({quoted(BULK)}) THEN {LATE_IN_BULK_SECONDS} ELSE {LATE_SECONDS} END)"""

_SET_BACK: Final = {
    JOBS.table: """SELECT p.queue, p.lane, p.id, p.kind, p.error, p.created_at, (SELECT count(*) FROM job b
        WHERE b.queue = p.queue AND b.lane = p.lane AND b.due_at IS NOT NULL
          AND (p.postponements > 0 OR b.id = p.id)) AS waiting FROM job p""",
    EMAILS.table: "SELECT p.queue, p.lane, p.id, p.kind, p.error, p.created_at, 1 AS waiting FROM email p",
}
"""Postponed rows with the number of rows that wait with each: jobs of a lane wait for its first, mails for none."""

FIND_POSTPONED: Final = {
    ledger.table: text(f"""
        SELECT queue, lane, id, kind, error_class, reason, waiting, seconds, total, oldest FROM (
          SELECT queue, lane, id, kind, error_class, reason, waiting, seconds,
            CAST(sum(waiting) OVER same AS int) AS total, max(seconds) OVER same AS oldest,
            row_number() OVER (PARTITION BY queue, error_class, reason ORDER BY seconds DESC, id) AS place
          FROM (
            SELECT queue, lane, id, kind, error ->> 'class' AS error_class, error ->> 'reason' AS reason, waiting,
              extract(epoch FROM now() - created_at)::float8 AS seconds
            FROM ({_SET_BACK[ledger.table]}
              WHERE p.postponed_at IS NOT NULL AND p.postponements <> 1 AND p.due_at IS NOT NULL) postponed
            WHERE {_LATE}{" AND created_at >= now() - interval '1 hour'" if ledger is EMAILS else ""}) late
          WINDOW same AS (PARTITION BY queue, error_class, reason)) placed
        WHERE place <= {SHOWN_ROWS} ORDER BY queue, error_class, reason, place""")
    for ledger in LEDGERS
}
"""The statement that finds late work that is postponed, by queue and reason; mails of over an hour are `unsent`."""

COUNT_UNKNOWN: Final = {
    ledger.table: text(f"""
        SELECT kind, count(*) AS waiting, extract(epoch FROM now() - min(due_at))::float8 AS seconds
        FROM {ledger.table}
        WHERE leased_until IS NULL AND due_at < now() - make_interval(secs => {LATE_SECONDS})
          AND NOT ({ledger.reads}) = ANY(CAST(:known AS text[]))
        GROUP BY kind ORDER BY kind""")
    for ledger in LEDGERS
}
"""The statement that counts due work of kinds that this release does not know."""


class PostponedWork(NamedTuple):
    """Postponed work, and what waits behind it in its lane.

    Parameters:
      waiting: the number of rows of its lane that wait, this one included.
      seconds: the time since it was recorded.
      total, oldest: the same of all work of its queue that is postponed for the same reason.
    """

    queue: str
    lane: UUID
    id: UUID
    kind: str
    error_class: str | None
    reason: str | None
    waiting: int
    seconds: float
    total: int
    oldest: float


class UnknownWork(NamedTuple):
    """The due work of a kind that this release does not know."""

    kind: str
    waiting: int
    seconds: float


# Finds the certificates that cannot be printed, the oldest of each code first; an index holds these alone.
FIND_HELD_CERTIFICATES = text(f"""
    SELECT code, id, total FROM (
      SELECT e.certificate_held AS code, e.id, count(*) OVER (PARTITION BY e.certificate_held) AS total,
        row_number() OVER (PARTITION BY e.certificate_held ORDER BY e.id) AS place
      FROM enrollment e JOIN account a ON a.id = e.account_id
      WHERE e.certificate_held IS NOT NULL AND e.detached_at IS NULL AND a.erased_at IS NULL) placed
    WHERE place <= {SHOWN_ROWS} ORDER BY code, id""")


class _UnprintableCertificate(NamedTuple):
    code: str
    id: UUID
    total: int


class ProblemRow(NamedTuple):
    """A job or mail that an operator has to look at.

    Parameters:
      code: the code of its problem.
      error_class, reason: class and reason of its last error, if it has one.
      total: the number of rows of its queue with the same problem.
    """

    code: str
    queue: str
    id: UUID
    kind: str
    error_class: str | None
    reason: str | None
    total: int


def find_rows(session: Session) -> list[dict[str, Any]]:
    """Lists the problems of jobs and mails by code and queue, each with its oldest rows and their errors.

    Codes: `dead`, a job that gave up or a mail that failed; for mails also `expired`, `uncertain` (the mail may have
    arrived and is not sent again automatically) and `unsent` (owed for over an hour).
    """
    problems: dict[tuple[str, str], dict[str, Any]] = {}
    for ledger in LEDGERS:
        for row in fetch(session, ProblemRow, FIND_PROBLEM_ROWS[ledger.table]):
            problem = {"code": row.code, "subject": row.queue, "count": row.total, "rows": []}
            shown = {"id": str(row.id), "kind": row.kind, "class": row.error_class, "reason": row.reason}
            problems.setdefault((row.code, row.queue), problem)["rows"].append(shown)
    return list(problems.values())


# Counts the files of each inbox whose last step failed, with the class of one of the errors.
COUNT_INBOX_FILES = text("""
    SELECT i.reference, count(*)::int AS files, min(f.trouble) AS trouble FROM inbox_file f
    JOIN inbox i ON i.id = f.inbox_id AND NOT i.paused
    WHERE f.trouble IS NOT NULL AND f.put_away_at IS NULL GROUP BY i.id ORDER BY i.reference""")


class _TroubledInbox(NamedTuple):
    reference: str
    files: int
    trouble: str


def find_inboxes(session: Session) -> list[dict[str, Any]]:
    """Lists the inboxes that the last scan could not read, as `unreadable_inbox` with the class of the error.

    Where only some files could not be read or put away, that is `unreadable_inbox_file` with their number.
    """
    unreadable = select(Inbox.reference, Inbox.trouble).where(col(Inbox.trouble).is_not(None), ~col(Inbox.paused))
    folders = session.exec(unreadable).all()
    files = fetch(session, _TroubledInbox, COUNT_INBOX_FILES)
    return [
        *({"code": "unreadable_inbox", "subject": name, "count": 1, "class": trouble} for name, trouble in folders),
        *({"code": "unreadable_inbox_file", "subject": name, "count": count, "class": trouble}
          for name, count, trouble in files),
    ]  # fmt: skip


def find_postponed(session: Session) -> list[dict[str, Any]]:
    """Lists work that is late because it is postponed, as `postponed` by queue and reason, with its first rows.

    Each row names its lane, the contract of the lane if it is one of a contract, and how many wait there since when.
    """
    found = [row for ledger in LEDGERS for row in fetch(session, PostponedWork, FIND_POSTPONED[ledger.table])]
    contracts = _contracts_of(session, {row.lane for row in found})
    problems: dict[tuple[str, str | None, str | None], dict[str, Any]] = {}
    for row in found:
        problem = {"code": "postponed", "subject": row.queue, "count": row.total, "seconds": row.oldest, "rows": []}
        shown = {
            "id": str(row.id),
            "kind": row.kind,
            "class": row.error_class,
            "reason": row.reason,
            "lane": str(row.lane),
            "contract": contracts.get(row.lane),
            "waiting": row.waiting,
            "seconds": row.seconds,
        }
        problems.setdefault((row.queue, row.error_class, row.reason), problem)["rows"].append(shown)
    return list(problems.values())


def _contracts_of(session: Session, lanes: set[UUID]) -> dict[UUID, str]:
    """Finds the contracts of these lanes: a lane is a number made of the portal and the reference."""
    if not lanes:
        return {}
    known = session.exec(select(Contract.portal_id, Contract.reference)).all()
    named = ((lane_id(portal, f"contract:{reference}"), reference) for portal, reference in known)
    return {lane: reference for lane, reference in named if lane in lanes}


def find_unknown_kinds(session: Session) -> list[dict[str, Any]]:
    """Lists the kinds of due work and of schedules that this release does not know, as `unknown_kind`.

    While a newer release is rolled out that is normal for moments; work that waits so for a day ends as dead.
    """
    found = [
        {"code": "unknown_kind", "subject": row.kind, "count": row.waiting, "seconds": row.seconds}
        for ledger in LEDGERS
        for row in fetch(session, UnknownWork, COUNT_UNKNOWN[ledger.table], {"known": list(ledger.known)})
    ]
    scheduled = session.exec(select(Schedule.kind).where(~col(Schedule.paused)).distinct()).all()
    return found + [
        {"code": "unknown_kind", "subject": kind, "count": 1} for kind in sorted(scheduled) if kind not in KINDS
    ]


# The relays that refuse our mails for a reason that may be ours, and have accepted none since.
FIND_REFUSING_RELAYS = text(f"""
    SELECT mr.name, mr.refused_reason AS reason, mr.refused_words AS words FROM mail_relay mr
    WHERE mr.refused_at > now() - interval '{REFUSAL_COUNTS.total_seconds():.0f} seconds'
      AND (mr.accepted_at IS NULL OR mr.accepted_at < mr.refused_at)
    ORDER BY mr.name""")


class RefusingRelay(NamedTuple):
    """A relay that refuses our mails: the reason as ``DeliveryReason`` names it, and its last words."""

    name: str
    reason: str
    words: str


def find_relays(session: Session) -> list[dict[str, Any]]:
    """Lists the relays that refuse us, as `relay_refuses`, with the relay's words."""
    found = fetch(session, RefusingRelay, FIND_REFUSING_RELAYS)
    return [
        {"code": "relay_refuses", "subject": relay.name, "count": 1, "reason": relay.reason, "words": relay.words}
        for relay in found
    ]


def find_unprintable(session: Session) -> list[dict[str, Any]]:
    """Lists completed trainings without a certificate because the fonts cannot print a text, with their enrollments."""
    problems: dict[str, dict[str, Any]] = {}
    for row in fetch(session, _UnprintableCertificate, FIND_HELD_CERTIFICATES):
        problem = {"code": row.code, "subject": Queue.CERTIFICATES, "count": row.total, "enrollments": []}
        problems.setdefault(row.code, problem)["enrollments"].append(str(row.id))
    return list(problems.values())


def find_problems(status: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """Lists all the problems that need an operator, each with a code, a subject and a count.

    Parameters:
      status: the state that ``read_status`` read.
      rows: the problems that ``find_rows``, ``find_inboxes`` and ``find_relays`` found.
    """
    problems = [{"code": "no_clock", "subject": "clock", "count": 1}] if status["clock"] is None else []
    problems += [*_of_time(status), *_of_redis(status), *_of_requests(status), *_of_processes(status)]
    for queue, counts in status["queues"].items():
        problems += _of_waiting(queue, counts["waiting"], counts["oldest_due_seconds"], status["missing"])
    problems += [dict(problem) for problem in rows]
    problems += [{"code": "drift", "subject": contract["reference"], "count": 1} for contract in status["drift"]]
    return problems


def _of_time(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields what a clock that was ahead left behind."""
    if status.get("set_back"):
        yield {"code": "clock_was_ahead", "subject": "database", "count": 1, "seconds": status["set_back"]["seconds"]}
    for name in status.get("void_schedules", ()):
        yield {"code": "void_schedule", "subject": name, "count": 1}


def _of_redis(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields the problems of Redis itself: it is away, refuses to write, or may lose what it was given."""
    redis = status.get("redis") or {}
    if redis.get("refusal"):
        yield {"code": "redis_refuses", "subject": "redis", "count": 1, "class": redis["refusal"]}
    elif status["requests"] is None:
        yield {"code": "no_redis", "subject": "redis", "count": 1}
    if redis.get("eviction") not in (None, NO_EVICTION):
        yield {"code": "redis_evicts", "subject": "redis", "count": 1, "class": redis["eviction"]}
    if redis.get("appendonly") is False:
        yield {"code": "redis_forgets", "subject": "redis", "count": 1}


def _of_processes(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields the processes that live and do no work. A killed one is no problem: its supervisor starts another."""
    redis = status.get("redis") or {}
    for process in status.get("processes", ()):
        if process["trouble"] and not redis.get("refusal") and status["requests"] is not None:
            yield {"code": "deaf_process", "subject": process["kind"], "count": 1, "class": process["trouble"]}
    for process in status.get("silent", ()):
        if process["connected"] and process["seen_seconds_ago"] > SILENT_SECONDS:
            yield {"code": "silent_process", "subject": process["kind"], "count": 1, "pid": process["pid"]}


def _of_requests(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields the problems of incoming requests: they are only in Redis, so a process must run even when none waits."""
    sent = status["requests"]
    if REQUESTS_QUEUE in status["missing"]:
        yield {"code": "no_process", "subject": REQUESTS_QUEUE, "count": sent["waiting"] if sent else 0}
    elif sent is not None:
        yield from _of_waiting(REQUESTS_QUEUE, sent["waiting"], sent["oldest_seconds"], ())


def _of_waiting(queue: str, waiting: int, oldest: float | None, missing: Sequence[str]) -> Iterable[dict[str, Any]]:
    longest = LATE_IN_BULK_SECONDS if queue in BULK else LATE_SECONDS
    if waiting and queue in missing:
        yield {"code": "no_process", "subject": queue, "count": waiting}
    elif oldest is not None and oldest > longest:
        yield {"code": "late", "subject": queue, "count": waiting, "seconds": oldest}
