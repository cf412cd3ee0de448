"""Reconciles the seats of contracts: counter, enrollments and seat history must agree. A schedule runs it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from cronsim import CronSimError
from sqlalchemy import func, text
from sqlmodel import select

from models.enrollment import LIVE
from workers.database import Session, read_whole_tables
from workers.engine.slots import next_slot
from workers.ops.capped import CappedNumber, problem_of
from workers.ops.facts import ScheduleState
from workers.requests.internal import ReconcileSeats
from workers.sql import fetch, fetch_one, fetch_value

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


KEPT_DRIFT: Final = 50
"""The most contracts with drift that a comparison keeps in its result; it also keeps their number."""

# Reads the last comparison of seats that was finished: an index holds these jobs alone.
READ_RECONCILIATION = text("""
    SELECT j.finished_at AS at, extract(epoch FROM now() - j.finished_at)::float8 AS seconds, j.result
    FROM job j WHERE j.kind = 'reconcile_seats' AND j.state = 'succeeded' AND j.finished_at IS NOT NULL
    ORDER BY j.finished_at DESC LIMIT 1""")


COMPARISON_TAKES: Final = timedelta(hours=1)
"""The longest time after a slot of its schedule within which a comparison of seats has ended."""

UNPLANNED_COMPARISON: Final = timedelta(days=1)
"""The longest time between two comparisons of seats while no schedule asks for any."""

# Reads when the first contract was recorded, before any comparison; identifiers grow with time.
READ_FIRST_CONTRACT = text("SELECT c.created_at FROM contract c ORDER BY c.id LIMIT 1")


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
    read_whole_tables(session)
    return fetch(session, SeatDrift, FIND_DRIFT)


class Reconciliation(NamedTuple):
    """A comparison of all seats: the moment it ended, its age in seconds, and the result of its job."""

    at: datetime
    seconds: float
    result: dict[str, Any] | None

    @property
    def drift(self) -> list[dict[str, Any]]:
        """The contracts with seats that did not add up, at most ``KEPT_DRIFT``."""
        kept: list[dict[str, Any]] = (self.result or {}).get("drift", [])
        return kept[:KEPT_DRIFT]

    def as_json(self) -> dict[str, Any]:
        """Returns the form in which the status shows it."""
        found = (self.result or {}).get("drift", [])
        contracts = (self.result or {}).get("contracts", len(found))
        return {"at": self.at.isoformat(), "seconds": self.seconds, "contracts": contracts}


def reconcile(session: Session) -> dict[str, Any]:
    """Compares all seats; returns the result of the job: the first contracts with drift, and their number."""
    drift = find_drift(session)
    return {"drift": [contract.as_json() for contract in drift[:KEPT_DRIFT]], "contracts": len(drift)}


def compare_now(session: Session) -> Reconciliation:
    """Compares all seats for an operator who does not want to wait for the next hour; it reads whole tables."""
    result = reconcile(session)
    return Reconciliation(session.exec(select(func.now())).one(), 0.0, result)


def read_reconciliation(session: Session) -> Reconciliation | None:
    """Reads the last comparison of seats that was finished, or None before the first."""
    return fetch_one(session, Reconciliation, READ_RECONCILIATION)


def late_from(crons: Iterable[str], since: datetime) -> datetime:
    """Returns the moment from which the next comparison of seats is late.

    Parameters:
      crons: the schedules that ask for comparisons; one that cannot be read, which the clock logs, asks for none.
      since: when the last comparison ended or, before the first, when the first contract was recorded.
    """
    slots = []
    for cron in crons:
        try:
            slots.append(next_slot(cron, since))
        except CronSimError:
            continue
    return min(slots) + COMPARISON_TAKES if slots else since + UNPLANNED_COMPARISON


def find_uncompared(
    session: Session, last: Reconciliation | None, schedules: Sequence[ScheduleState], now: datetime
) -> list[dict[str, Any]]:
    """Tells that seats were not compared in time, as `seats_not_compared`: then no drift shows, and there may be some.

    Parameters:
      last: the last comparison, None before the first.
    """
    since = last.at if last else fetch_value(session, datetime, READ_FIRST_CONTRACT)
    crons = [one.cron for one in schedules if one.kind == ReconcileSeats.kind and not one.paused]
    if since is None or now <= late_from(crons, since):
        return []
    seconds = (now - since).total_seconds()
    return [problem_of("seats_not_compared", "contracts", CappedNumber(1), seconds=seconds)]
