"""Decides which states are problems for an operator and which are normal load: the rules behind `healthy`."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.relay import REFUSAL_COUNTS
from models.words import Code
from workers.database import Session
from workers.engine.rollout import ALIVE_SECONDS
from workers.engine.watchdog import OWN_TROUBLES, STUCK
from workers.ops.capped import CAPS, CappedNumber, StatusCaps, problem_of
from workers.ops.error_groups import SHOWN_ROWS
from workers.ops.redis_condition import NO_EVICTION
from workers.requests.base import REQUESTS_QUEUE
from workers.requests.queues import Queue
from workers.sql import fetch

LATE_SECONDS: Final = 60.0
"""Seconds after which due work is late: its process runs without working, or the mail relay is away."""

LATE_IN_BULK_SECONDS: Final = 900.0
"""Seconds after which due work of the bulk queues is late: the mails of a large roster take minutes anyway."""

SILENT_SECONDS: Final = float(ALIVE_SECONDS)
"""Seconds without a heartbeat after which a process that is still connected is frozen, and must be restarted."""

BULK: Final = (Queue.ROSTERS, Queue.EMAILS_BULK, Queue.MAINTENANCE)

HIDDEN_BY_A_PAUSE: Final = ("unsent", "postponed", "lane_held")
"""Problems of work that is tried again by itself: on a paused queue it is not, so only the pause is told."""

# Finds the certificates that cannot be printed, the oldest of each code first; an index holds these alone.
FIND_HELD_CERTIFICATES = text(f"""
    SELECT code, id, total FROM (
      SELECT h.code, e.id, count(*) OVER (PARTITION BY h.code) AS total,
        row_number() OVER (PARTITION BY h.code ORDER BY e.id) AS place
      FROM unnest(CAST(:codes AS text[])) h (code) CROSS JOIN LATERAL (
        SELECT e.id FROM enrollment e JOIN account a ON a.id = e.account_id
        WHERE e.certificate_held = h.code AND e.certificate_held IS NOT NULL AND e.detached_at IS NULL
          AND a.erased_at IS NULL
        LIMIT CAST(:rows AS bigint) + 1) e) placed
    WHERE place <= {SHOWN_ROWS} ORDER BY code, id""")

HELD_CODES: Final = (Code.NAME_NOT_PRINTABLE, Code.VALUE_NOT_PRINTABLE)


class _UnprintableCertificate(NamedTuple):
    code: str
    id: UUID
    total: int


# Counts the files of each inbox whose last step failed, with the class of one of the errors.
COUNT_INBOX_FILES = text("""
    SELECT i.reference, count(*)::int AS files, min(f.trouble) AS trouble FROM inbox_file f
    JOIN inbox i ON i.id = f.inbox_id AND NOT i.paused
    WHERE f.trouble IS NOT NULL AND f.put_away_at IS NULL GROUP BY i.id ORDER BY i.reference""")


# Finds the inboxes that the last scan could not read, with the class of the error.
FIND_UNREADABLE_INBOXES = text("""
    SELECT i.reference, i.trouble FROM inbox i WHERE i.trouble IS NOT NULL AND NOT i.paused
    ORDER BY i.reference, i.id""")


class _UnreadableInbox(NamedTuple):
    reference: str
    trouble: str


class _TroubledInbox(NamedTuple):
    reference: str
    files: int
    trouble: str


def find_inboxes(session: Session) -> list[dict[str, Any]]:
    """Lists the inboxes that the last scan could not read, as `unreadable_inbox` with the class of the error.

    Where only some files could not be read or put away, that is `unreadable_inbox_file` with their number.
    """
    folders = fetch(session, _UnreadableInbox, FIND_UNREADABLE_INBOXES)
    files = fetch(session, _TroubledInbox, COUNT_INBOX_FILES)
    return [
        *({"code": "unreadable_inbox", "subject": name, "count": 1, "class": trouble} for name, trouble in folders),
        *({"code": "unreadable_inbox_file", "subject": name, "count": count, "class": trouble}
          for name, count, trouble in files),
    ]  # fmt: skip


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


def find_unprintable(session: Session, caps: StatusCaps = CAPS) -> list[dict[str, Any]]:
    """Lists completed trainings without a certificate because the fonts cannot print a text, with their enrollments."""
    problems: dict[str, dict[str, Any]] = {}
    for row in fetch(
        session, _UnprintableCertificate, FIND_HELD_CERTIFICATES, {"codes": list(HELD_CODES), "rows": caps.rows}
    ):
        number = CappedNumber.of(row.total, caps.rows)
        problem = problem_of(row.code, Queue.CERTIFICATES, number, enrollments=[])
        problems.setdefault(row.code, problem)["enrollments"].append(str(row.id))
    return list(problems.values())


def find_problems(status: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """Lists all the problems that need an operator, each with a code, a subject and a count.

    Parameters:
      status: the state that ``read_status`` read.
      rows: the problems that ``find_stuck``, ``find_inboxes``, ``find_relays`` and the like found.
    """
    no_clock = {"code": "no_clock", "subject": "clock", "count": 1} | _drained(status, "clock")
    problems = [no_clock] if status["clock"] is None else []
    problems += [*_of_time(status), *find_problems_of_redis(status), *_of_requests(status), *_of_processes(status)]
    problems += [*_of_circuits(status), *_of_pauses(status)]
    paused = {pause["queue"] for pause in status.get("pauses", ()) if pause["reference"] is None}
    for queue, counts in status["queues"].items():
        oldest = None if queue in paused else counts["oldest_due_seconds"]
        drained = _drained(status, queue)
        problems += _of_waiting(queue, _waiting_on(status, queue), oldest, status["missing"], drained)
    rows = [row for row in rows if row["code"] not in HIDDEN_BY_A_PAUSE or row["subject"] not in paused]
    problems += [dict(problem) for problem in rows]
    problems += [{"code": "drift", "subject": contract["reference"], "count": 1} for contract in status["drift"]]
    return problems


def _of_time(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields what a clock that was ahead left behind."""
    if status.get("set_back"):
        yield {"code": "clock_was_ahead", "subject": "database", "count": 1, "seconds": status["set_back"]["seconds"]}
    for name in status.get("void_schedules", ()):
        yield {"code": "void_schedule", "subject": name, "count": 1}


def find_problems_of_redis(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
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
    redis_works = not redis.get("refusal") and status["requests"] is not None
    for process in status.get("processes", ()):
        trouble = process["trouble"]
        facts = {"subject": process["kind"], "count": 1, "class": trouble, "pid": process["pid"]}
        # While Redis does not answer, a reader waits for it for as long as one that is stuck.
        if trouble in OWN_TROUBLES and (redis_works or trouble != STUCK):
            yield {"code": "stuck_process"} | facts
        elif trouble and redis_works:
            yield {"code": "deaf_process"} | facts
    for process in status.get("silent", ()):
        if process["connected"] and process["seen_seconds_ago"] > SILENT_SECONDS:
            yield {"code": "silent_process", "subject": process["kind"], "count": 1, "pid": process["pid"]}


def _of_circuits(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields the mail queues of which the processes leave the relay alone; where none is owed a mail, only for a pause.

    When the pause is over, the next mail tells whether the relay is well: without one that is not known.
    """
    open_for: dict[str, list[Mapping[str, Any]]] = {}
    for process in status.get("processes", ()):
        if process.get("circuit_reason"):
            open_for.setdefault(process["kind"], []).append(process)
    for kind, found in open_for.items():
        counts = [status["queues"].get(queue, {}) for queue in kind.split()]
        owed = sum(one.get("waiting", 0) + one.get("due_later", 0) for one in counts)
        seconds = max(process["circuit_seconds"] or 0.0 for process in found)
        if seconds or owed:
            at_least = any({"waiting", "due_later"} & {*one.get("at_least", ())} for one in counts)
            facts = {"class": found[0]["circuit_reason"], "seconds": seconds}
            yield problem_of("relay_rests", kind, CappedNumber(owed, at_least), **facts)


def _of_pauses(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields the queues and lanes that an operator paused: work waits, and not every operator knows why.

    `what` names it as the command that ends the pause does.
    """
    for pause in status.get("pauses", ()):
        queue, waiting = pause["queue"], _waiting_on(status, pause["queue"])
        words = [queue]
        if pause["reference"] is not None:
            words += ["--lane", pause["reference"], "--portal", pause["portal"]]
            waiting = CappedNumber(pause["waiting"], pause.get("at_least", False))
        told = {"what": shlex.join(words), "by": pause["paused_by"], "reason": pause["reason"]}
        yield problem_of("queue_paused", queue, waiting, seconds=pause["seconds_left"], until=pause["until"], **told)


def _waiting_on(status: Mapping[str, Any], queue: str) -> CappedNumber:
    counts = status["queues"].get(queue, {})
    return CappedNumber(counts.get("waiting", 0), "waiting" in counts.get("at_least", ()))


def _of_requests(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yields the problems of incoming requests: they are only in Redis, so a process must run even when none waits."""
    sent = status["requests"]
    if sent is not None and (faulty := sent.get("at_fault")):
        facts = {"class": faulty["reason"], "seconds": faulty["seconds"]}
        yield {"code": "not_recordable", "subject": REQUESTS_QUEUE, "count": faulty["number"]} | facts
    if REQUESTS_QUEUE in status["missing"]:
        number = CappedNumber(sent["waiting"] if sent else 0)
        yield problem_of("no_process", REQUESTS_QUEUE, number, **_drained(status, REQUESTS_QUEUE))
    elif sent is not None and sent["waiting"] and _is_held_up(sent.get("given_back")):
        again, waiting = sent["given_back"], sent["waiting"]
        facts = {"class": again["reason"], "message": again["message"], "times": again["times"]}
        yield {"code": "given_back", "subject": REQUESTS_QUEUE, "count": waiting, "seconds": again["seconds"]} | facts
    elif sent is not None:
        yield from _of_waiting(REQUESTS_QUEUE, CappedNumber(sent["waiting"]), sent["oldest_seconds"], ())


def _drained(status: Mapping[str, Any], queue: str) -> dict[str, Any]:
    """Names the processes that would serve a queue, if no operator drained them, as `matricule drain` does."""
    found = [
        f"{process['host']}:{process['pid']}"
        for process in status.get("processes", ())
        if process.get("drain_asked_at") and queue in process["kind"].split()
    ]
    return {"drained": found} if found else {}


def _is_held_up(again: Mapping[str, Any] | None) -> bool:
    """Tells whether the same message was given back several times for over a minute; those behind it wait."""
    return again is not None and again["times"] > 1 and again["seconds"] > LATE_SECONDS


def _of_waiting(
    queue: str,
    waiting: CappedNumber,
    oldest: float | None,
    missing: Sequence[str],
    drained: Mapping[str, Any] = MappingProxyType({}),
) -> Iterable[dict[str, Any]]:
    longest = LATE_IN_BULK_SECONDS if queue in BULK else LATE_SECONDS
    if waiting.number and queue in missing:
        yield problem_of("no_process", queue, waiting, **drained)
    elif oldest is not None and oldest > longest:
        yield problem_of("late", queue, waiting, seconds=oldest)
