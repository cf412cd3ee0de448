"""Groups the jobs and mails of a problem by their error: thousands of them are mostly a few faults.

Each error is told once, with its number, and when it was first and last seen.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from models.delivery import DeliveryReason
from models.job import ERROR_CLASS, ERROR_REASON
from workers.ops.capped import CappedNumber, StatusCaps, first_rows

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

ERROR_OF_ROW: Final = f"{ERROR_CLASS} AS error_class, {ERROR_REASON} AS reason"
"""The SQL columns of class and reason of the error of a row."""

SAME_ERROR: Final = f"{ERROR_CLASS} = g.error_class AND {ERROR_REASON} = g.reason"
"""The SQL condition of rows with the error of a row of ``g``."""


def error_groups(table: str, condition: str) -> str:
    """Returns the SQL of a common table `g` of the errors that these rows have; it jumps from one to the next.

    Parameters:
      condition: one that leaves the rows in the order of an index by class and reason of their error.
    """
    order = f"{ERROR_CLASS}, {ERROR_REASON}"
    return f"""WITH RECURSIVE g (error_class, reason, place) AS (
          (SELECT {ERROR_OF_ROW}, 1 FROM {table} WHERE {condition} ORDER BY {order} LIMIT 1)
          UNION ALL
          SELECT n.error_class, n.reason, g.place + 1 FROM g CROSS JOIN LATERAL (
            SELECT {ERROR_OF_ROW} FROM {table} WHERE {condition} AND ({order}) > (g.error_class, g.reason)
            ORDER BY {order} LIMIT 1) n
          WHERE g.place <= :groups)"""


def grouped_by_error(table: str, condition: str, moment: str, old: str = "") -> str:
    """Returns the SQL that counts the rows of each error, with the first and last moment.

    Parameters:
      old: a further condition of the rows that are counted; of some errors it leaves none.

    Its parameter `uncounted` names the reasons that are no problem: their rows are not read.
    """
    alike = f"{condition} AND {SAME_ERROR}{old}"
    found = f"SELECT {moment} FROM {table} WHERE {alike}"
    return f"""
        {error_groups(table, condition)}
        SELECT g.error_class, g.reason,
          CASE WHEN g.reason = ANY(CAST(:uncounted AS text[])) THEN 0
            ELSE {first_rows(table, alike, moment, cap="alike")} END AS total,
          ({found} ORDER BY {moment} LIMIT 1) AS first_at,
          ({found} AND {moment} IS NOT NULL ORDER BY {moment} DESC LIMIT 1) AS last_at
        FROM g ORDER BY g.place"""


def listed_by_error(table: str, condition: str, moment: str) -> str:
    """Returns the SQL that lists the oldest rows of these errors."""
    return f"""
        SELECT o.id, o.kind, g.error_class, g.reason
        FROM unnest(CAST(:classes AS text[]), CAST(:reasons AS text[])) g (error_class, reason)
        CROSS JOIN LATERAL (
          SELECT id, kind FROM {table} WHERE {condition} AND {SAME_ERROR} ORDER BY {moment}, id LIMIT {SHOWN_ROWS}) o
        ORDER BY o.id LIMIT {SHOWN_ROWS}"""


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


def sum_of(groups: Sequence[ErrorGroup], caps: StatusCaps, *, many: bool) -> CappedNumber:
    """Adds up the rows of these groups; `many` says that there are more groups than were looked at."""
    total = CappedNumber.total([CappedNumber.of(group.total, caps.alike) for group in groups])
    return total._replace(at_least=total.at_least or many)


def most_frequent(groups: Sequence[ErrorGroup]) -> list[ErrorGroup]:
    return sorted(groups, key=lambda group: -group.total)[:SHOWN_GROUPS]


def errors_of(groups: Sequence[ErrorGroup]) -> dict[str, list[str]]:
    return {"classes": [group.error_class for group in groups], "reasons": [group.reason for group in groups]}


def with_groups(
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
    most = most_frequent(groups)
    shown = [_group_as_json(group, alone or CappedNumber.of(group.total, caps.alike)) for group in most]
    more = {"more_groups": True} if many or len(groups) > len(shown) else {}
    return problem | {"rows": [row.as_json() for row in rows], "groups": shown} | more


def _group_as_json(group: ErrorGroup, number: CappedNumber) -> dict[str, Any]:
    counted = {"count": number.number} | ({"at_least": True} if number.at_least else {})
    moments = {"first": group.first_at, "last": group.last_at}
    seen = {name: at.isoformat() if at else None for name, at in moments.items()}
    return {"class": group.error_class or None, "reason": group.reason or None} | counted | seen


__all__ = [
    "ADDRESS_REASONS",
    "ERROR_OF_ROW",
    "SAME_ERROR",
    "SHOWN_ROWS",
    "ErrorGroup",
    "StuckRow",
    "error_groups",
    "errors_of",
    "grouped_by_error",
    "listed_by_error",
    "most_frequent",
    "sum_of",
    "with_groups",
]
