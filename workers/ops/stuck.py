"""Finds the jobs and mails that ended without success, grouped by their error."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.email import STUCK_MAILS
from models.job import STUCK_JOBS
from models.words import EmailState, JobState
from workers.database import Session
from workers.engine.ledger import EMAILS, JOBS, LEDGERS
from workers.ops.capped import CappedNumber, StatusCaps, first_rows, problem_of
from workers.ops.error_groups import (
    ADDRESS_REASONS,
    SAME_ERROR,
    SHOWN_ROWS,
    ErrorGroup,
    StuckRow,
    errors_of,
    grouped_by_error,
    most_frequent,
    sum_of,
    with_groups,
)
from workers.sql import fetch

CODES: Final = {
    (JOBS.table, JobState.DEAD.value): "dead",
    (EMAILS.table, EmailState.FAILED.value): "dead",
    (EMAILS.table, EmailState.EXPIRED.value): "expired",
    (EMAILS.table, EmailState.UNCERTAIN.value): "uncertain",
}
"""The code of the problem that the rows of a ledger in this state are; suppressed mails are none."""

STUCK: Final = {JOBS.table: STUCK_JOBS, EMAILS.table: STUCK_MAILS}

_OF_STATE: Final = {table: f"state = :state AND queue = :queue AND {stuck}" for table, stuck in STUCK.items()}

COUNT_STUCK: Final = {
    table: text(f"""
        WITH RECURSIVE s (state, queue) AS (
          (SELECT state, queue FROM {table} WHERE {stuck} ORDER BY state, queue LIMIT 1)
          UNION ALL
          SELECT n.state, n.queue FROM s CROSS JOIN LATERAL (
            SELECT state, queue FROM {table} t WHERE {stuck} AND (t.state, t.queue) > (s.state, s.queue)
            ORDER BY t.state, t.queue LIMIT 1) n)
        SELECT s.state, s.queue,
          {first_rows(f"{table} t", f"t.state = s.state AND t.queue = s.queue AND {stuck}")} AS total
        FROM s""")
    for table, stuck in STUCK.items()
}
"""The statement that counts the stuck rows of each ledger by state and queue."""

GROUP_STUCK: Final = {table: text(grouped_by_error(table, of, "finished_at")) for table, of in _OF_STATE.items()}
"""The statement that groups the stuck rows of a queue by their error."""

LIST_STUCK: Final = {
    table: text(f"""
        SELECT g.state, g.queue, o.id, o.kind, g.error_class, g.reason
        FROM unnest(CAST(:states AS text[]), CAST(:queues AS text[]), CAST(:classes AS text[]),
          CAST(:reasons AS text[])) g (state, queue, error_class, reason)
        CROSS JOIN LATERAL (
          SELECT t.id, t.kind FROM {table} t WHERE t.state = g.state AND t.queue = g.queue AND {stuck} AND {SAME_ERROR}
          ORDER BY t.finished_at, t.id LIMIT {SHOWN_ROWS}) o
        ORDER BY o.id""")
    for table, stuck in STUCK.items()
}
"""The statement that lists the oldest stuck rows of each queue and state with these errors."""


class StuckCount(NamedTuple):
    """The stuck rows of a queue in one state."""

    state: str
    queue: str
    total: int


def count_stuck(session: Session, caps: StatusCaps) -> dict[str, list[StuckCount]]:
    """Counts the rows of each ledger that ended without success by state and queue, each to one more than the cap."""
    asked = {"rows": caps.rows}
    return {ledger.table: fetch(session, StuckCount, COUNT_STUCK[ledger.table], asked) for ledger in LEDGERS}


def find_stuck(session: Session, counted: Mapping[str, Sequence[StuckCount]], caps: StatusCaps) -> list[dict[str, Any]]:
    """Lists the problems of jobs and mails that ended without success, by code and queue.

    Codes: `dead`, a job that gave up or a mail that failed; for mails also `expired` and `uncertain` (the mail may have
    arrived and is not sent again automatically). Each has its errors as `groups` (class, reason, count, first, last),
    the most frequent first, and `rows`, its oldest jobs or mails.

    Parameters:
      counted: their numbers (``count_stuck``).
    """
    problems: list[dict[str, Any]] = []
    for table, found in counted.items():
        grouped = [_group(session, table, stuck, caps) for stuck in found if (table, stuck.state) in CODES]
        ours = [one for one in grouped if one.groups]
        listed = _list_stuck(session, table, ours)
        problems += [_problem_of_state(table, one, listed, caps) for one in ours]
    return problems


class _GroupedState(NamedTuple):
    """The stuck rows of a queue in one state by their error, without errors that are no problem of ops.

    Parameters:
      errors: the number of errors that were looked at, to one more than the cap.
    """

    stuck: StuckCount
    groups: list[ErrorGroup]
    errors: int


class _StuckRowOfState(NamedTuple):
    state: str
    queue: str
    id: UUID
    kind: str
    error_class: str
    reason: str


def _group(session: Session, table: str, stuck: StuckCount, caps: StatusCaps) -> _GroupedState:
    uncounted = list(ADDRESS_REASONS) if table == EMAILS.table else []
    sizes = {"groups": caps.groups, "alike": caps.alike, "uncounted": uncounted}
    asked = {"state": stuck.state, "queue": stuck.queue} | sizes
    found = fetch(session, ErrorGroup, GROUP_STUCK[table], asked)
    return _GroupedState(stuck, [group for group in found if group.total], len(found))


def _list_stuck(session: Session, table: str, grouped: Sequence[_GroupedState]) -> list[_StuckRowOfState]:
    """Lists the oldest rows of the most frequent errors of each queue and state, in the order of their identifiers."""
    wanted = [(one.stuck, group) for one in grouped for group in most_frequent(one.groups)]
    if not wanted:
        return []
    of = {"states": [stuck.state for stuck, _ in wanted], "queues": [stuck.queue for stuck, _ in wanted]}
    asked = of | errors_of([group for _, group in wanted])
    return fetch(session, _StuckRowOfState, LIST_STUCK[table], asked)


def _problem_of_state(
    table: str, grouped: _GroupedState, listed: Sequence[_StuckRowOfState], caps: StatusCaps
) -> dict[str, Any]:
    (state, queue, total), groups, errors = grouped
    many = errors > caps.groups
    counted = CappedNumber.of(total, caps.rows) if len(groups) == errors else sum_of(groups, caps, many=many)
    problem = problem_of(CODES[table, state], queue, counted)
    alone = counted if errors == 1 else None  # all rows have this error, and they are counted further
    rows = [StuckRow(*row[2:]) for row in listed if (row.state, row.queue) == (state, queue)]
    return with_groups(problem, groups, rows[:SHOWN_ROWS], caps, many=many, alone=alone)


__all__ = ["STUCK", "StuckCount", "count_stuck", "find_stuck"]
