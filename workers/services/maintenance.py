"""What is done on schedule: comparing the three accounts of seats, and deleting what was kept for a time only."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.throttle import COUNTS_FOR
from workers.database import Session

# Enrollment by enrollment: a seat counted twice beside one not counted at all would hide in the sums.
DRIFT = text("""
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

_THROTTLES_KEPT = " ".join(
    f"WHEN '{scope}' THEN interval '{kept.total_seconds():.0f} seconds'" for scope, kept in COUNTS_FOR.items()
)

# Each scope as long as it counts; what no scope counts any more (a word of an older release) goes with the longest.
PURGE_THROTTLES = text(f"""
    DELETE FROM throttle WHERE at < now() - CASE scope {_THROTTLES_KEPT}
      ELSE interval '{max(COUNTS_FOR.values()).total_seconds():.0f} seconds' END""")

PURGES = {
    "idempotency": text("DELETE FROM idempotency WHERE created_at < now() - interval '90 days'"),
    "job_attempt": text("DELETE FROM job_attempt WHERE created_at < now() - interval '90 days'"),
    "sign_in": text("DELETE FROM sign_in WHERE failed_at < now() - interval '1 day'"),
    "process": text("DELETE FROM process WHERE seen_at < now() - interval '1 hour'"),
    "throttle": PURGE_THROTTLES,
}


class Drift(NamedTuple):
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


def find_drift(session: Session) -> list[Drift]:
    """The contracts whose seats do not add up. Reports; never repairs, because a repair would hide the bug."""
    return [Drift(i, r, c, v, int(b), o, u) for i, r, c, v, b, o, u in session.execute(DRIFT)]


def purge(session: Session) -> dict[str, int]:
    """Deletes what is kept for a time only: keys and failed attempts (90 days), what throttles count, lost processes.

    Returns: rows deleted by table.
    """
    return {table: session.execute(statement).rowcount for table, statement in PURGES.items()}  # type: ignore[attr-defined]
