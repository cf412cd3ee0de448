"""Reads what the status tells in single numbers, all by one statement: each statement costs more than most of them."""

from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import text

from workers.database import Session
from workers.engine.set_back import TERM_SECONDS
from workers.ops.capped import CappedNumber, StatusCaps, first_rows
from workers.sql import fetch


def _pending(table: str) -> str:
    """Returns the SQL that counts pending corrections, with the age of the oldest: one that waits for long may be a
    problem.
    """
    return f"""(
      SELECT count(*) AS pending, extract(epoch FROM now() - min(waiting.asked_at))::float8 AS oldest_seconds
      FROM (SELECT asked_at FROM {table} WHERE state = 'pending' LIMIT CAST(:rows AS bigint) + 1) waiting)"""


# Reads the numbers. For how long no clock has renewed the lead: a leading clock does so each second; NULL before the
# first one led. The times of other roles' sessions are shown only to members of pg_read_all_stats; a role sees its own.
READ_SMALL_FACTS: Final = text(f"""
    SELECT now() AS at, ec.pending AS corrections, ec.oldest_seconds AS correction_seconds,
      nc.pending AS name_corrections, nc.oldest_seconds AS name_correction_seconds,
      {first_rows("suppression", "until IS NULL OR until > now()")} AS suppressed,
      {first_rows("contract", "true")} AS contracts,
      (SELECT greatest(extract(epoch FROM now() - cl.until) + :term, 0)::float8 FROM clock cl) AS clock_lag_seconds,
      db.transaction_seconds, db.snapshot_seconds
    FROM {_pending("email_correction")} ec CROSS JOIN {_pending("name_correction")} nc CROSS JOIN (
      SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS transaction_seconds,
        coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) FILTER (WHERE backend_xmin IS NOT NULL), 0)
          ::float8 AS snapshot_seconds
      FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()) db""").bindparams(
    term=TERM_SECONDS
)


class SmallFacts(NamedTuple):
    """The facts that are one number each; those that are counted are counted to one more than the cap.

    Parameters:
      corrections: of addresses that are pending; `name_corrections` of names; each with the age of the oldest.
      suppressed: the addresses on the suppression list.
      transaction_seconds, snapshot_seconds: the ages of the oldest transaction and of the oldest snapshot.
    """

    at: datetime
    corrections: int
    correction_seconds: float | None
    name_corrections: int
    name_correction_seconds: float | None
    suppressed: int
    contracts: int
    clock_lag_seconds: float | None
    transaction_seconds: float
    snapshot_seconds: float

    def numbers(self, caps: StatusCaps) -> dict[str, CappedNumber]:
        """Returns the counted ones, by the names under which the status tells that they reached the cap."""
        counted = {
            "suppressed_addresses": self.suppressed,
            "contract_count": self.contracts,
            "corrections.pending": self.corrections,
            "name_corrections.pending": self.name_corrections,
        }
        return {name: CappedNumber.of(number, caps.rows) for name, number in counted.items()}

    def as_json(self, caps: StatusCaps) -> dict[str, Any]:
        """Returns the form in which the status shows them."""
        numbers = self.numbers(caps)
        return {
            "at": self.at.isoformat(),
            "suppressed_addresses": numbers["suppressed_addresses"].number,
            "corrections": {
                "pending": numbers["corrections.pending"].number,
                "oldest_seconds": self.correction_seconds,
            },
            "name_corrections": {
                "pending": numbers["name_corrections.pending"].number,
                "oldest_seconds": self.name_correction_seconds,
            },
            "contract_count": numbers["contract_count"].number,
            "clock_lag_seconds": self.clock_lag_seconds,
            "database": {
                "transaction_seconds": self.transaction_seconds,
                "snapshot_seconds": self.snapshot_seconds,
            },
        }


def read_small_facts(session: Session, caps: StatusCaps) -> SmallFacts:
    """Reads the facts that are one number each."""
    [facts] = fetch(session, SmallFacts, READ_SMALL_FACTS, {"rows": caps.rows})
    return facts


__all__ = ["SmallFacts", "read_small_facts"]
