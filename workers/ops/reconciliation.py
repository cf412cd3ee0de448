"""What is done on schedule: comparing the three accounts of seats."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from workers.database import Session

# Enrollment by enrollment: a seat counted twice beside one not counted at all would hide in the sums.
FIND_DRIFT = text("""
    SELECT c.id, c.reference, c.enrolled_count, coalesce(s.live, 0) AS live, coalesce(s.balance, 0) AS balance,
      coalesce(s.orphans, 0) AS orphans, coalesce(s.uneven, 0) AS uneven
    FROM contract c
    LEFT JOIN (
      SELECT contract_id, count(*) FILTER (WHERE e.live = 1) AS live, sum(m.balance) AS balance,
        count(*) FILTER (WHERE e.live IS NULL) AS orphans,
        count(*) FILTER (WHERE e.live <> coalesce(m.balance, 0)) AS uneven
      FROM (SELECT contract_id, id, CAST(withdrawn_at IS NULL AS int) AS live FROM enrollment) e
      FULL JOIN (
        SELECT contract_id, enrollment_id AS id, sum(change) AS balance FROM seat_movement
        GROUP BY contract_id, enrollment_id) m USING (contract_id, id)
      GROUP BY contract_id) s ON s.contract_id = c.id
    WHERE c.enrolled_count <> coalesce(s.live, 0) OR c.enrolled_count <> coalesce(s.balance, 0)
      OR s.orphans > 0 OR s.uneven > 0
    ORDER BY c.id""")


class SeatDrift(NamedTuple):
    """A contract whose three accounts of used seats differ.

    Parameters:
      enrolled_count: the counter on the contract.
      live: enrollments that are not withdrawn.
      balance: sum of the seat ledger.
      orphans: enrollments the seat ledger speaks of that do not exist on this contract.
      uneven: enrollments that exist and whose own movements do not come to the seat they use or gave back.
    """

    contract_id: UUID
    reference: str
    enrolled_count: int
    live: int
    balance: int
    orphans: int
    uneven: int

    def as_json(self) -> dict[str, Any]:
        """As reports and results show it."""
        return self._asdict() | {"contract_id": str(self.contract_id)}


def find_drift(session: Session) -> list[SeatDrift]:
    """The contracts whose seats do not add up. Reports; never repairs, because a repair would hide the bug."""
    return [SeatDrift(i, r, c, v, int(b), o, u) for i, r, c, v, b, o, u in session.execute(FIND_DRIFT)]
