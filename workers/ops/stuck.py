"""Finds the jobs and mails that ended without success, and mails owed for over an hour, grouped by their error.

Thousands of them are mostly a few faults: each is told once, with its number, and when it was first and last seen.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.delivery import DeliveryReason
from models.email import STUCK_MAILS
from models.job import DEFERRED, ERROR_CLASS, ERROR_REASON, STUCK_JOBS, WAITING_IN_TIME
from models.words import EmailState, JobState
from workers.database import Session
from workers.engine.ledger import EMAILS, JOBS, LEDGERS
from workers.ops.capped import CappedNumber, StatusCaps, first_rows, problem_of
from workers.sql import fetch

SHOWN_ROWS: Final = 10
"""The most rows that are listed for a problem, the oldest of each error first."""

SHOWN_GROUPS: Final = 10
"""The most errors that are listed for a problem, the most frequent first."""

ADDRESS_REASONS: Final = (
    DeliveryReason.ADDRESS_REJECTED,
    DeliveryReason.ADDRESS_UNSENDABLE,
    DeliveryReason.RECIPIENT_REFUSED,
    DeliveryReason.MAILBOX_FULL,
)
"""Reasons that concern the recipient's address: a mail not sent for one of them is for the manager, not for ops."""

CODES: Final = {
    (JOBS.table, JobState.DEAD.value): "dead",
    (EMAILS.table, EmailState.FAILED.value): "dead",
    (EMAILS.table, EmailState.EXPIRED.value): "expired",
    (EMAILS.table, EmailState.UNCERTAIN.value): "uncertain",
}
"""The code of the problem that the rows of a ledger in this state are; suppressed mails are none."""

STUCK: Final = {JOBS.table: STUCK_JOBS, EMAILS.table: STUCK_MAILS}

LONG_OWED: Final = "now() - interval '1 hour'"
"""A mail that was recorded earlier than this and is still owed is a problem."""

_ERROR: Final = f"{ERROR_CLASS} AS error_class, {ERROR_REASON} AS reason"
_SAME: Final = f"{ERROR_CLASS} = g.error_class AND {ERROR_REASON} = g.reason"


def error_groups(table: str, condition: str) -> str:
    """Returns the SQL of a common table `g` of the errors that these rows have; it jumps from one to the next.

    Parameters:
      condition: one that leaves the rows in the order of an index by class and reason of their error.
    """
    order = f"{ERROR_CLASS}, {ERROR_REASON}"
    return f"""WITH RECURSIVE g (error_class, reason, place) AS (
          (SELECT {_ERROR}, 1 FROM {table} WHERE {condition} ORDER BY {order} LIMIT 1)
          UNION ALL
          SELECT n.error_class, n.reason, g.place + 1 FROM g CROSS JOIN LATERAL (
            SELECT {_ERROR} FROM {table} WHERE {condition} AND ({order}) > (g.error_class, g.reason)
            ORDER BY {order} LIMIT 1) n
          WHERE g.place <= :groups)"""


def _grouped(table: str, condition: str, moment: str, old: str = "") -> str:
    """Returns the SQL that counts the rows of each error, with the first and last moment.

    Parameters:
      old: a further condition of the rows that are counted; of some errors it leaves none.

    Its parameter `uncounted` names the reasons that are no problem: their rows are not read.
    """
    alike = f"{condition} AND {_SAME}{old}"
    found = f"SELECT {moment} FROM {table} WHERE {alike}"
    return f"""
        {error_groups(table, condition)}
        SELECT g.error_class, g.reason,
          CASE WHEN g.reason = ANY(CAST(:uncounted AS text[])) THEN 0
            ELSE {first_rows(table, alike, moment, cap="alike")} END AS total,
          ({found} ORDER BY {moment} LIMIT 1) AS first_at,
          ({found} AND {moment} IS NOT NULL ORDER BY {moment} DESC LIMIT 1) AS last_at
        FROM g ORDER BY g.place"""


def _listed(table: str, condition: str, moment: str) -> str:
    """Returns the SQL that lists the oldest rows of these errors."""
    return f"""
        SELECT o.id, o.kind, g.error_class, g.reason
        FROM unnest(CAST(:classes AS text[]), CAST(:reasons AS text[])) g (error_class, reason)
        CROSS JOIN LATERAL (
          SELECT id, kind FROM {table} WHERE {condition} AND {_SAME} ORDER BY {moment}, id LIMIT {SHOWN_ROWS}) o
        ORDER BY o.id LIMIT {SHOWN_ROWS}"""


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

GROUP_STUCK: Final = {table: text(_grouped(table, of, "finished_at")) for table, of in _OF_STATE.items()}
"""The statement that groups the stuck rows of a queue by their error."""

LIST_STUCK: Final = {table: text(_listed(table, of, "finished_at")) for table, of in _OF_STATE.items()}
"""The statement that lists the oldest stuck rows of a queue with these errors."""

_OLD: Final = f" AND created_at < {LONG_OWED}"
_DEFERRED: Final = f"queue = :queue AND {DEFERRED}"
_RUNNING: Final = f"queue = :queue AND leased_until IS NOT NULL{_OLD}"

# Mails that were never set back are due since they were recorded: the index by due time begins with the oldest.
_NEVER_SET_BACK: Final = f"""queue = :queue AND {WAITING_IN_TIME} AND due_at < {LONG_OWED} AND due_at <= created_at"""

# Groups the mails of a queue that were set back and are owed for over an hour by their last error.
GROUP_LATE_MAILS = text(_grouped("email", _DEFERRED, "created_at", _OLD))

# Lists the oldest of these mails with these errors.
LIST_LATE_MAILS = text(_listed("email", _DEFERRED + _OLD, "created_at"))

# Groups the mails that are being sent, which are few, by the error of the attempt before.
GROUP_MAILS_IN_HAND = text(f"""
    SELECT {_ERROR}, count(*) AS total, min(created_at) AS first_at, max(created_at) AS last_at
    FROM email WHERE {_RUNNING} GROUP BY 1, 2""")

# Counts the mails of a queue that are owed for over an hour and were never set back.
GROUP_UNTRIED_MAILS = text(f"""
    SELECT '' AS error_class, '' AS reason, count(*) AS total, min(created_at) AS first_at, max(created_at) AS last_at
    FROM (SELECT created_at FROM email WHERE {_NEVER_SET_BACK} ORDER BY due_at
      LIMIT CAST(:alike AS bigint) + 1) untried
    HAVING count(*) > 0""")

# Lists the oldest mails of a queue that were never set back, or are being sent.
LIST_OTHER_MAILS = text(f"""
    SELECT id, kind, {_ERROR} FROM (
      (SELECT id, kind, error FROM email WHERE {_NEVER_SET_BACK} ORDER BY due_at LIMIT {SHOWN_ROWS})
      UNION ALL
      (SELECT id, kind, error FROM email WHERE {_RUNNING} ORDER BY created_at LIMIT {SHOWN_ROWS})) other""")


class StuckCount(NamedTuple):
    """The stuck rows of a queue in one state."""

    state: str
    queue: str
    total: int


class ErrorGroup(NamedTuple):
    """Rows of a queue with the same error: their number, and the first and last moment one of them was seen."""

    error_class: str
    reason: str
    total: int
    first_at: datetime | None
    last_at: datetime | None


class StuckRow(NamedTuple):
    """A job or mail that an operator has to look at, with class and reason of its last error."""

    id: UUID
    kind: str
    error_class: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Returns the form in which a problem lists it."""
        found = {"class": self.error_class or None, "reason": self.reason or None}
        return {"id": str(self.id), "kind": self.kind} | found


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
    problems = []
    for table, found in counted.items():
        for stuck in found:
            code = CODES.get((table, stuck.state))
            if code and (problem := _problem_of_state(session, table, code, stuck, caps)):
                problems.append(problem)
    return problems


def _problem_of_state(
    session: Session, table: str, code: str, stuck: StuckCount, caps: StatusCaps
) -> dict[str, Any] | None:
    where = {"state": stuck.state, "queue": stuck.queue}
    uncounted = list(ADDRESS_REASONS) if table == EMAILS.table else []
    sizes = {"groups": caps.groups, "alike": caps.alike, "uncounted": uncounted}
    found = fetch(session, ErrorGroup, GROUP_STUCK[table], where | sizes)
    ours = [group for group in found if group.total]
    if not ours:
        return None
    many = len(found) > caps.groups
    counted = CappedNumber.of(stuck.total, caps.rows) if ours == found else _sum(ours, caps, many=many)
    rows = fetch(session, StuckRow, LIST_STUCK[table], where | _errors_of(_most_frequent(ours)))
    problem = problem_of(code, stuck.queue, counted)
    alone = counted if len(found) == 1 else None  # all rows have this error, and they are counted further
    return _with_groups(problem, ours, rows, caps, many=many, alone=alone)


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
    others = fetch(session, ErrorGroup, GROUP_MAILS_IN_HAND, {"queue": queue})
    others += fetch(session, ErrorGroup, GROUP_UNTRIED_MAILS, {"queue": queue, "alike": caps.alike})
    ours = _without_addresses(_merged([*late, *others]))
    if not ours:
        return None
    rows = fetch(session, StuckRow, LIST_LATE_MAILS, {"queue": queue} | _errors_of(_most_frequent(ours)))
    rows += fetch(session, StuckRow, LIST_OTHER_MAILS, {"queue": queue})
    oldest = sorted((row for row in rows if row.reason not in ADDRESS_REASONS), key=lambda row: row.id)
    many = len(late) > caps.groups
    problem = problem_of("unsent", queue, _sum(ours, caps, many=many))
    return _with_groups(problem, ours, oldest[:SHOWN_ROWS], caps, many=many)


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


def _sum(groups: Sequence[ErrorGroup], caps: StatusCaps, *, many: bool) -> CappedNumber:
    """Adds up the rows of these groups; `many` says that there are more groups than were looked at."""
    total = CappedNumber.total([CappedNumber.of(group.total, caps.alike) for group in groups])
    return total._replace(at_least=total.at_least or many)


def _most_frequent(groups: Sequence[ErrorGroup]) -> list[ErrorGroup]:
    return sorted(groups, key=lambda group: -group.total)[:SHOWN_GROUPS]


def _errors_of(groups: Sequence[ErrorGroup]) -> dict[str, list[str]]:
    return {"classes": [group.error_class for group in groups], "reasons": [group.reason for group in groups]}


def _with_groups(
    problem: dict[str, Any],
    groups: Sequence[ErrorGroup],
    rows: Sequence[StuckRow],
    caps: StatusCaps,
    *,
    many: bool,
    alone: CappedNumber | None = None,
) -> dict[str, Any]:
    """Adds the errors and the rows to a problem; `more_groups` stands in it when not all errors are listed.

    Parameters:
      alone: the number of rows of the only error.
    """
    most = _most_frequent(groups)
    shown = [_group_as_json(group, alone or CappedNumber.of(group.total, caps.alike)) for group in most]
    more = {"more_groups": True} if many or len(groups) > len(shown) else {}
    return problem | {"rows": [row.as_json() for row in rows], "groups": shown} | more


def _group_as_json(group: ErrorGroup, number: CappedNumber) -> dict[str, Any]:
    counted = {"count": number.number} | ({"at_least": True} if number.at_least else {})
    moments = {"first": group.first_at, "last": group.last_at}
    seen = {name: at.isoformat() if at else None for name, at in moments.items()}
    return {"class": group.error_class or None, "reason": group.reason or None} | counted | seen


__all__ = ["ADDRESS_REASONS", "StuckCount", "count_stuck", "error_groups", "find_stuck", "find_unsent"]
