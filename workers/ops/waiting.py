"""Finds work that waits for a reason that a person can remove: it is postponed again and again, or not known here."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.job import DEFERRED, ERROR_CLASS, ERROR_REASON
from models.mails import quoted
from workers.database import Session
from workers.engine.ledger import EMAILS, JOBS, LEDGERS, LOCKED, Claimed, Ledger
from workers.engine.pauses import lanes_paused
from workers.ops.capped import CappedNumber, StatusCaps, first_rows, problem_of
from workers.ops.error_groups import SHOWN_ROWS, error_groups
from workers.ops.facts import ScheduleState
from workers.ops.problems import BULK, LATE_IN_BULK_SECONDS, LATE_SECONDS
from workers.ops.queue_counts import OF_QUEUE, queues_with
from workers.ops.unsent import LONG_OWED
from workers.requests.base import lane_id
from workers.requests.registry import KINDS
from workers.sql import fetch

HELD_SECONDS: Final = 10.0
"""Seconds after which a lane is held up by a lock: transactions of ours hold that of a contract for less than one."""


def _late(reason: str) -> str:
    """Returns the SQL condition of work that has waited for too long, postponed for this reason."""
    return f"""created_at < now() - make_interval(secs => CASE WHEN {reason} = '{LOCKED}' THEN {HELD_SECONDS}
    WHEN queue IN ({quoted(BULK)}) THEN {LATE_IN_BULK_SECONDS} ELSE {LATE_SECONDS} END)"""


def _again(reason: str) -> str:
    """Returns the SQL condition of work that is postponed again and again, for a lock as long as a lane may be held."""
    return f"""postponed_at IS NOT NULL AND postponements <> 1 AND ({reason} <> '{LOCKED}'
            OR postponed_at < now() - make_interval(secs => {HELD_SECONDS}))"""


_COLUMNS: Final = "id, kind, lane, created_at, postponed_at, postponements"


def _postponed(ledger: Ledger[Claimed], reason: str) -> str:
    """Returns the SQL condition of late work that is postponed; mails owed for over an hour are `unsent`.

    Work of a lane that an operator paused is not tried, so only the pause is told.
    """
    young = f" AND created_at >= {LONG_OWED}" if ledger is EMAILS else ""
    return f"{_late(reason)}{young} AND lane NOT IN ({lanes_paused(':queue')})"


FIND_POSTPONED: Final = {
    ledger.table: text(f"""
        {error_groups(ledger.table, f"queue = :queue AND {DEFERRED}")}
        SELECT error_class, reason, id, kind, lane, seconds, postponements > 0 AS keeps_place, total, walked FROM (
          SELECT g.error_class, g.reason, o.id, o.kind, o.lane, o.postponements,
            extract(epoch FROM now() - o.created_at)::float8 AS seconds,
            count(*) OVER same AS total, o.walked, row_number() OVER (same ORDER BY o.created_at, o.id) AS place
          FROM g CROSS JOIN LATERAL (
            SELECT *, count(*) OVER () AS walked FROM (
              SELECT {_COLUMNS} FROM {ledger.table} WHERE queue = :queue AND {DEFERRED}
                AND {ERROR_CLASS} = g.error_class AND {ERROR_REASON} = g.reason AND {_postponed(ledger, "g.reason")}
              ORDER BY created_at, id LIMIT CAST(:alike AS bigint) + 1) alike) o
          WHERE {_again("g.reason")}
          WINDOW same AS (PARTITION BY g.error_class, g.reason)) placed
        WHERE place <= :lanes
        UNION ALL
        SELECT {ERROR_CLASS}, {ERROR_REASON}, id, kind, lane, extract(epoch FROM now() - created_at)::float8,
          postponements > 0, 0, 0
        FROM {ledger.table} WHERE queue = :queue AND leased_until IS NOT NULL
          AND {_postponed(ledger, ERROR_REASON)} AND {_again(ERROR_REASON)}""")
    for ledger in LEDGERS
}
"""The statement that finds late work of a queue that is postponed, the oldest of each reason first.

Work that is tried again at this moment is in the last part, with a total of 0.
"""

# Counts the jobs of each lane that wait, and the one that is done, if there is one.
COUNT_LANES = text(f"""
    SELECT l.lane, {
    first_rows(
        "job b",
        "b.queue = :queue AND b.lane = l.lane AND b.due_at IS NOT NULL AND b.leased_until IS NULL",
        "b.sequence_number",
        cap="alike",
    )
}
      + (SELECT count(*) FROM job b WHERE b.queue = :queue AND b.lane = l.lane AND b.leased_until IS NOT NULL
        AND b.due_at IS NOT NULL) AS waiting
    FROM unnest(CAST(:lanes AS uuid[])) l (lane)""")

_NAMED: Final = """substring(CAST(j.request AS text) FROM '"{}" ?: ?"((?:[^"\\\\]|\\\\.)*)"')"""

# Reads the references that these requests name; the references of contracts are looked for among them.
READ_REFERENCES = text(f"""
    SELECT j.lane, j.portal_id, coalesce({_NAMED.format("contract")}, {_NAMED.format("reference")}) AS reference
    FROM job j WHERE j.id = ANY(CAST(:ids AS uuid[]))""")

COUNT_UNKNOWN: Final = {
    ledger.table: text(f"""
        {queues_with(ledger.table)}
        SELECT d.kind, CAST(sum(d.waiting) AS bigint) AS waiting,
          extract(epoch FROM now() - min(d.due_at))::float8 AS seconds, CAST(max(d.walked) AS bigint) AS walked
        FROM q CROSS JOIN LATERAL (
          SELECT kind, needs, count(*) AS waiting, min(due_at) AS due_at, sum(count(*)) OVER () AS walked FROM (
            SELECT t.kind, {ledger.reads} AS needs, t.due_at FROM {ledger.table} t
            WHERE {OF_QUEUE} AND t.due_at < now() - make_interval(secs => {LATE_SECONDS})
            ORDER BY t.due_at LIMIT CAST(:alike AS bigint) + 1) late
          GROUP BY kind, needs) d
        WHERE NOT d.needs = ANY(CAST(:known AS text[]))
        GROUP BY d.kind ORDER BY d.kind""")
    for ledger in LEDGERS
}
"""The statement that counts due work of kinds that this release does not know, among what is due longest in each queue:
as no process takes it, it is there soon."""


class PostponedWork(NamedTuple):
    """Postponed work of a queue.

    Parameters:
      seconds: the time since it was recorded.
      keeps_place: later jobs of its lane wait for it.
      total: the number of rows with the same error among those that were looked at, 0 of work that is being tried.
      walked: the number of rows that were looked at, to one more than the cap.
    """

    error_class: str
    reason: str
    id: UUID
    kind: str
    lane: UUID
    seconds: float
    keeps_place: bool
    total: int
    walked: int


class WaitingLane(NamedTuple):
    """The number of jobs of a lane that wait."""

    lane: UUID
    waiting: int


class NamedReference(NamedTuple):
    """The reference that the request of a postponed job names, as it stands in its JSON."""

    lane: UUID
    portal_id: UUID
    reference: str | None


class UnknownWork(NamedTuple):
    """The due work of a kind that this release does not know."""

    kind: str
    waiting: int
    seconds: float
    walked: int


def find_postponed(session: Session, busy: Mapping[str, Sequence[str]], caps: StatusCaps) -> list[dict[str, Any]]:
    """Lists work that is late because it is postponed, by queue and reason, with its first rows.

    The code is `lane_held` where another transaction holds the contract, and `postponed` for other reasons.

    Each row names its lane, the contract of the lane if it is one of a contract, and how many wait there since when.

    Parameters:
      busy: for each ledger the queues in which work waits or is being done.
    """
    sizes = {"groups": caps.groups, "alike": caps.alike, "lanes": caps.lanes}
    problems = []
    for ledger in LEDGERS:
        for queue in busy[ledger.table]:
            found = fetch(session, PostponedWork, FIND_POSTPONED[ledger.table], {"queue": queue} | sizes)
            problems += _by_reason(session, ledger, queue, found, caps)
    return problems


def _by_reason(
    session: Session, ledger: Ledger[Claimed], queue: str, found: Sequence[PostponedWork], caps: StatusCaps
) -> list[dict[str, Any]]:
    waiting = _count_lanes(session, queue, found, caps) if ledger is JOBS else {}
    groups: dict[tuple[str, str], list[PostponedWork]] = {}
    for row in sorted(found, key=lambda row: (row.error_class, row.reason, -row.seconds, row.id)):
        groups.setdefault((row.error_class, row.reason), []).append(row)
    listed = [row for rows in groups.values() for row in rows[:SHOWN_ROWS]]
    contracts = name_contracts(session, [row.id for row in listed]) if waiting else {}
    return [_postponed_problem(queue, rows, waiting, contracts, caps) for rows in groups.values()]


def _postponed_problem(
    queue: str,
    rows: Sequence[PostponedWork],
    waiting: dict[UUID, CappedNumber],
    contracts: dict[UUID, str],
    caps: StatusCaps,
) -> dict[str, Any]:
    behind = [_behind(row, waiting) for row in rows]
    not_listed = max(row.total for row in rows) - sum(row.total > 0 for row in rows)
    # Of those that are not listed only themselves are counted, not what waits behind them.
    partly = not_listed > 0 or any(row.walked > caps.alike for row in rows)
    number = CappedNumber.total([*behind, CappedNumber(max(not_listed, 0), partly)])
    shown = [_shown(row, one, contracts) for row, one in zip(rows[:SHOWN_ROWS], behind, strict=False)]
    code = "lane_held" if rows[0].reason == LOCKED else "postponed"
    return problem_of(code, queue, number, seconds=max(row.seconds for row in rows), rows=shown)


def _behind(row: PostponedWork, waiting: dict[UUID, CappedNumber]) -> CappedNumber:
    return waiting.get(row.lane, CappedNumber(1)) if row.keeps_place else CappedNumber(1)


def _shown(row: PostponedWork, behind: CappedNumber, contracts: dict[UUID, str]) -> dict[str, Any]:
    reached = {"at_least": True} if behind.at_least else {}
    return {
        "id": str(row.id),
        "kind": row.kind,
        "class": row.error_class or None,
        "reason": row.reason or None,
        "lane": str(row.lane),
        "contract": contracts.get(row.lane),
        "waiting": behind.number,
        "seconds": row.seconds,
    } | reached


def _count_lanes(
    session: Session, queue: str, found: Sequence[PostponedWork], caps: StatusCaps
) -> dict[UUID, CappedNumber]:
    if not found:
        return {}
    asked = {"queue": queue, "lanes": list({row.lane for row in found}), "alike": caps.alike}
    counted = fetch(session, WaitingLane, COUNT_LANES, asked)
    return {lane.lane: CappedNumber.of(lane.waiting, caps.alike) for lane in counted}


def name_contracts(session: Session, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Finds the contracts of the lanes of these jobs: a lane is a number made of the portal and the reference."""
    named = fetch(session, NamedReference, READ_REFERENCES, {"ids": list(ids)}) if ids else []
    found = {}
    for one in named:
        reference: str = json.loads(f'"{one.reference}"') if one.reference else ""
        if reference and lane_id(one.portal_id, f"contract:{reference}") == one.lane:
            found[one.lane] = reference
    return found


def find_unknown_kinds(session: Session, schedules: Sequence[ScheduleState], caps: StatusCaps) -> list[dict[str, Any]]:
    """Lists the kinds of due work and of schedules that this release does not know, as `unknown_kind`.

    While a newer release is rolled out that is normal for moments; work that waits so for a day ends as dead.
    """
    found = [
        problem_of("unknown_kind", row.kind, CappedNumber(row.waiting, row.walked > caps.alike), seconds=row.seconds)
        for ledger in LEDGERS
        for row in fetch(
            session, UnknownWork, COUNT_UNKNOWN[ledger.table], {"known": list(ledger.known), "alike": caps.alike}
        )
    ]
    scheduled = {schedule.kind for schedule in schedules if not schedule.paused}
    return found + [
        problem_of("unknown_kind", kind, CappedNumber(1)) for kind in sorted(scheduled) if kind not in KINDS
    ]


__all__ = ["find_postponed", "find_unknown_kinds", "name_contracts"]
