"""Counts no further than to a cap, so that the status of a large table costs no more than that of a small one.

A number that reached its cap is at least so large; wherever it is shown, that is said.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import text

from workers.database import Session


class StatusCaps(NamedTuple):
    """The numbers to which the status counts, and the most that it lists.

    Parameters:
      rows: rows of one queue in one condition.
      alike: rows of one queue with the same error; each of them is read, which costs ten times as much as counting it
        by an index, so they are fewer.
      groups: errors of one queue that are told apart.
      lanes: postponed rows with the same error for which the rows that wait behind them are counted.
    """

    rows: int = 10_000
    alike: int = 250
    groups: int = 30
    lanes: int = 100


CAPS: Final = StatusCaps()

# Forbids plans that read whole tables, or collect all the rows of an index, until this transaction ends. The statements
# of the status stop early, which PostgreSQL with poor statistics does not believe. Without JIT: with these plans
# forbidden, older releases of PostgreSQL take small statements for dear ones and compile them.
READ_BY_INDEX = text("""
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
      set_config('jit', 'off', true)""")


def read_by_index(session: Session) -> None:
    """Makes the statements of this transaction read by indexes only."""
    session.execute(READ_BY_INDEX)


def first_rows(table: str, condition: str, order: str = "", *, cap: str = "rows") -> str:
    """Returns the SQL value of a number of rows, counted to one more than the cap, which is a parameter.

    Parameters:
      table: the table, with its alias.
      order: the columns of the index that holds the rows; with them no other plan is worth a thought.
    """
    ordered = f" ORDER BY {order}" if order else ""
    return f"""(SELECT count(*) FROM (
        SELECT 1 FROM {table} WHERE {condition}{ordered} LIMIT CAST(:{cap} AS bigint) + 1) counted)"""


class CappedNumber(NamedTuple):
    """A number, and whether it is only the least that it can be."""

    number: int
    at_least: bool = False

    @classmethod
    def of(cls, counted: int, cap: int) -> "CappedNumber":
        """Makes the number of what was counted to one more than the cap."""
        return cls(min(counted, cap), counted > cap)

    @classmethod
    def total(cls, numbers: Sequence["CappedNumber"]) -> "CappedNumber":
        """Adds numbers; the sum is at least so large when one of them is."""
        return cls(sum(one.number for one in numbers), any(one.at_least for one in numbers))


def problem_of(code: str, subject: str, number: CappedNumber, **facts: Any) -> dict[str, Any]:
    """Makes a problem; `at_least` stands in it only when its count reached a cap."""
    counted = {"code": code, "subject": subject, "count": number.number}
    return counted | ({"at_least": True} if number.at_least else {}) | facts


__all__ = ["CAPS", "CappedNumber", "StatusCaps", "first_rows", "problem_of", "read_by_index"]
