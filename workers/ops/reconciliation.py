"""Reconciles the seats of contracts: counter, enrollments and seat history must agree. A schedule runs it."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.enrollment import LIVE
from workers.database import Session
from workers.sql import fetch

# Enrollments are compared one by one: in the sums, a seat counted twice would hide a seat that was not counted.
FIND_DRIFT = text(f"""
    SELECT c.id AS contract_id, c.reference, c.enrolled_count, coalesce(sums.live, 0) AS live,
      CAST(coalesce(sums.balance, 0) AS bigint) AS balance, coalesce(sums.orphans, 0) AS orphans,
      coalesce(sums.uneven, 0) AS uneven
    FROM contract c
    LEFT JOIN (
      SELECT contract_id, count(*) FILTER (WHERE held.live = 1) AS live, sum(moved.balance) AS balance,
        count(*) FILTER (WHERE held.live IS NULL) AS orphans,
        count(*) FILTER (WHERE held.live <> coalesce(moved.balance, 0)) AS uneven
      FROM (SELECT e.contract_id, e.id, CAST({LIVE} AS int) AS live FROM enrollment e) held
      FULL JOIN (
        SELECT s.contract_id, s.enrollment_id AS id, sum(s.change) AS balance FROM seat_movement s
        GROUP BY s.contract_id, s.enrollment_id) moved USING (contract_id, id)
      GROUP BY contract_id) sums ON sums.contract_id = c.id
    WHERE c.enrolled_count <> coalesce(sums.live, 0) OR c.enrolled_count <> coalesce(sums.balance, 0)
      OR sums.orphans > 0 OR sums.uneven > 0
    ORDER BY c.id""")


class SeatDrift(NamedTuple):
    """A contract with three counts of used seats that differ.

    Parameters:
      enrolled_count: the counter on the contract.
      live: the number of enrollments that are not withdrawn.
      balance: the sum of the seat history.
      orphans: enrollments in the seat history that do not exist on this contract.
      uneven: enrollments with movements that do not add up to 1 when they are live, or to 0 when they are withdrawn.
    """

    contract_id: UUID
    reference: str
    enrolled_count: int
    live: int
    balance: int
    orphans: int
    uneven: int

    def as_json(self) -> dict[str, Any]:
        """Returns the form in which reports and results show it."""
        return self._asdict() | {"contract_id": str(self.contract_id)}


def find_drift(session: Session) -> list[SeatDrift]:
    """Finds the contracts with seats that do not add up. It never repairs them, because that would hide the bug."""
    return fetch(session, SeatDrift, FIND_DRIFT)
