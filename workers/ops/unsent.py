"""Finds the mails that are owed for over an hour, grouped by their error."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import text

from models.job import DEFERRED, WAITING_IN_TIME
from workers.database import Session
from workers.ops.capped import StatusCaps, problem_of
from workers.ops.error_groups import (
    ADDRESS_REASONS,
    ERROR_OF_ROW,
    SHOWN_ROWS,
    ErrorGroup,
    StuckRow,
    errors_of,
    grouped_by_error,
    listed_by_error,
    most_frequent,
    sum_of,
    with_groups,
)
from workers.sql import fetch

LONG_OWED: Final = "now() - interval '1 hour'"
"""A mail that was recorded earlier than this and is still owed is a problem."""

_OLD: Final = f" AND created_at < {LONG_OWED}"
_DEFERRED: Final = f"queue = :queue AND {DEFERRED}"
_RUNNING: Final = f"queue = :queue AND leased_until IS NOT NULL{_OLD}"

# Mails that were never set back are due since they were recorded: the index by due time begins with the oldest.
_NEVER_SET_BACK: Final = f"""queue = :queue AND {WAITING_IN_TIME} AND due_at < {LONG_OWED} AND due_at <= created_at"""

# Groups the mails of a queue that were set back and are owed for over an hour by their last error.
GROUP_LATE_MAILS = text(grouped_by_error("email", _DEFERRED, "created_at", _OLD))

# Groups the other mails of a queue that are owed for over an hour: those that are being sent, which are few, by the
# error of the attempt before; and those that were never set back, which have none.
GROUP_OTHER_MAILS = text(f"""
    SELECT {ERROR_OF_ROW}, count(*) AS total, min(created_at) AS first_at, max(created_at) AS last_at
    FROM email WHERE {_RUNNING} GROUP BY 1, 2
    UNION ALL
    SELECT '', '', count(*), min(created_at), max(created_at)
    FROM (SELECT created_at FROM email WHERE {_NEVER_SET_BACK} ORDER BY due_at
      LIMIT CAST(:alike AS bigint) + 1) untried
    HAVING count(*) > 0""")

# Lists the oldest mails of a queue that are owed for over an hour: those that were set back, with these errors; those
# that were never set back; and those that are being sent.
LIST_UNSENT = text(f"""
    SELECT * FROM ({listed_by_error("email", _DEFERRED + _OLD, "created_at")}) late
    UNION ALL
    SELECT id, kind, {ERROR_OF_ROW} FROM (
      (SELECT id, kind, error FROM email WHERE {_NEVER_SET_BACK} ORDER BY due_at LIMIT {SHOWN_ROWS})
      UNION ALL
      (SELECT id, kind, error FROM email WHERE {_RUNNING} ORDER BY created_at LIMIT {SHOWN_ROWS})) other""")


def find_unsent(session: Session, queues: Sequence[str], caps: StatusCaps) -> list[dict[str, Any]]:
    """Lists the mails owed for over an hour, as `unsent` by queue, unless the fault is in their address.

    Parameters:
      queues: the queues in which mails wait or are being sent.
    """
    found = [_unsent(session, queue, caps) for queue in queues]
    return [problem for problem in found if problem is not None]


def _unsent(session: Session, queue: str, caps: StatusCaps) -> dict[str, Any] | None:
    sizes = {"queue": queue, "groups": caps.groups, "alike": caps.alike, "uncounted": list(ADDRESS_REASONS)}
    late = fetch(session, ErrorGroup, GROUP_LATE_MAILS, sizes)
    others = fetch(session, ErrorGroup, GROUP_OTHER_MAILS, {"queue": queue, "alike": caps.alike})
    ours = _without_addresses(_merged([*late, *others]))
    if not ours:
        return None
    rows = fetch(session, StuckRow, LIST_UNSENT, {"queue": queue} | errors_of(most_frequent(ours)))
    oldest = sorted((row for row in rows if row.reason not in ADDRESS_REASONS), key=lambda row: row.id)
    many = len(late) > caps.groups
    problem = problem_of("unsent", queue, sum_of(ours, caps, many=many))
    return with_groups(problem, ours, oldest[:SHOWN_ROWS], caps, many=many)


def _merged(groups: Sequence[ErrorGroup]) -> list[ErrorGroup]:
    """Adds up the groups with the same error, and leaves out those without a row."""
    merged: dict[tuple[str, str], ErrorGroup] = {}
    for one in groups:
        if one.total:
            known = merged.get((one.error_class, one.reason))
            merged[one.error_class, one.reason] = one if known is None else _added(known, one)
    return list(merged.values())


def _added(one: ErrorGroup, other: ErrorGroup) -> ErrorGroup:
    moments = [at for at in (one.first_at, one.last_at, other.first_at, other.last_at) if at is not None]
    first, last = min(moments, default=None), max(moments, default=None)
    return ErrorGroup(one.error_class, one.reason, one.total + other.total, first, last)


def _without_addresses(groups: Sequence[ErrorGroup]) -> list[ErrorGroup]:
    return [group for group in groups if group.reason not in ADDRESS_REASONS]


__all__ = ["LONG_OWED", "find_unsent"]
