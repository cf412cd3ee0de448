"""Counts the rows of each queue, and the mails by state, by the ends of indexes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import text

from models.job import WAITING_IN_TIME
from models.words import EmailState
from workers.database import Session
from workers.engine.ledger import EMAILS, LEDGERS, Claimed, Ledger
from workers.engine.pauses import lanes_paused
from workers.ops.capped import CappedNumber, StatusCaps, first_rows
from workers.requests.queues import Queue
from workers.sql import fetch

OF_QUEUE: Final = f"t.queue = q.queue AND {WAITING_IN_TIME}"


RUNNING: Final = "leased_until IS NOT NULL"


def queues_with(table: str, condition: str = WAITING_IN_TIME) -> str:
    """Returns the SQL of a common table `q` of the queues that have such rows: it jumps from one to the next.

    Parameters:
      condition: the one of an index that begins with the queue; without it, the rows that wait.
    """
    return f"""WITH RECURSIVE q (queue) AS (
          (SELECT queue FROM {table} WHERE {condition} ORDER BY queue LIMIT 1)
          UNION ALL
          SELECT n.queue FROM q CROSS JOIN LATERAL (
            SELECT t.queue FROM {table} t WHERE {condition} AND t.queue > q.queue ORDER BY t.queue LIMIT 1) n)"""


def _oldest(ledger: Ledger[Claimed]) -> str:
    """Returns the SQL value of the age of the row of a queue that has been due longest.

    What is in a paused lane does not count, nor a job that waits for a postponed one of its lane: these are problems of
    their own.
    """
    paused = f"w.lane NOT IN ({lanes_paused('q.queue')})"
    held = f"""{paused} AND w.lane NOT IN (
              SELECT p.lane FROM {ledger.table} p WHERE p.queue = q.queue AND p.postponements > 0
                AND p.due_at IS NOT NULL AND p.leased_until IS NULL
              UNION ALL
              SELECT p.lane FROM {ledger.table} p WHERE p.queue = q.queue AND p.postponements > 0
                AND p.leased_until IS NOT NULL)"""
    return f"""(SELECT extract(epoch FROM now() - w.due_at)::float8 FROM (
            SELECT t.lane, t.due_at FROM {ledger.table} t WHERE {OF_QUEUE} AND t.due_at <= now()
            ORDER BY t.due_at LIMIT :rows) w
          WHERE {held if ledger.one_claimer_per_lane else paused} ORDER BY w.due_at LIMIT 1)"""


COUNT_WAITING: Final = {
    ledger.table: text(f"""
        {queues_with(ledger.table)}
        SELECT q.queue,
          {first_rows(f"{ledger.table} t", f"{OF_QUEUE} AND t.due_at <= now()", "t.due_at")} AS waiting,
          {first_rows(f"{ledger.table} t", f"{OF_QUEUE} AND t.due_at > now()", "t.due_at")} AS due_later,
          {_oldest(ledger)} AS oldest_due_seconds
        FROM q""")
    for ledger in LEDGERS
}
"""The statement that counts the waiting rows of each ledger by queue."""

COUNT_RUNNING: Final = {
    ledger.table: text(f"""
        {queues_with(ledger.table, RUNNING)}
        SELECT q.queue,
          {first_rows(f"{ledger.table} t", f"t.queue = q.queue AND {RUNNING}", "t.lane")} AS running
        FROM q""")
    for ledger in LEDGERS
}
"""The statement that counts the claimed rows of each ledger by queue, each queue to the cap."""

# Counts the newest mails by state: identifiers grow.
COUNT_NEWEST_MAILS = text("""
    SELECT state, count(*) AS mails FROM (
      SELECT state FROM email ORDER BY id DESC LIMIT CAST(:rows AS bigint) + 1) newest
    GROUP BY state""")

STUCK_STATES: Final = (EmailState.FAILED, EmailState.EXPIRED, EmailState.UNCERTAIN, EmailState.SUPPRESSED)


class WaitingCounts(NamedTuple):
    """The waiting rows of a queue, and the age of the one that has been due longest, in seconds."""

    queue: str
    waiting: int
    due_later: int
    oldest_due_seconds: float | None


class RunningCount(NamedTuple):
    """The claimed rows of a queue."""

    queue: str
    running: int


class MailCount(NamedTuple):
    """The newest mails in a state."""

    state: str
    mails: int


class QueueCounts(NamedTuple):
    """The rows of one queue by condition, and the age of the one that has been due longest, in seconds."""

    waiting: CappedNumber = CappedNumber(0)
    due_later: CappedNumber = CappedNumber(0)
    running: CappedNumber = CappedNumber(0)
    dead: CappedNumber = CappedNumber(0)
    oldest_due_seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns the form in which the status shows it; a number that reached a cap is named in `at_least`."""
        numbers = {"waiting": self.waiting, "due_later": self.due_later, "running": self.running, "dead": self.dead}
        shown: dict[str, Any] = {name: one.number for name, one in numbers.items()}
        reached = [name for name, one in numbers.items() if one.at_least]
        shown["oldest_due_seconds"] = self.oldest_due_seconds
        return shown | ({"at_least": reached} if reached else {})


class QueueReading(NamedTuple):
    """The counts by queue, and for each ledger the queues in which work waits or is being done.

    Parameters:
      mails: the mails that wait and those that are being sent, by state; those of each queue are counted to the cap.
    """

    counts: dict[str, QueueCounts]
    busy: dict[str, list[str]]
    mails: dict[str, int]


def read_waiting(session: Session, ledger: Ledger[Claimed], caps: StatusCaps) -> list[WaitingCounts]:
    """Counts the waiting rows of a ledger by queue, each queue to one more than the cap."""
    return fetch(session, WaitingCounts, COUNT_WAITING[ledger.table], {"rows": caps.rows})


def count_queues(session: Session, caps: StatusCaps) -> QueueReading:
    """Counts the waiting and running rows of every queue, over both ledgers."""
    found = {queue.value: QueueCounts() for queue in Queue}
    busy: dict[str, list[str]] = {}
    mails: dict[str, int] = {}
    for ledger in LEDGERS:
        waiting = read_waiting(session, ledger, caps)
        running = fetch(session, RunningCount, COUNT_RUNNING[ledger.table], {"rows": caps.rows})
        busy[ledger.table] = sorted({row.queue for row in waiting} | {one.queue for one in running})
        if ledger is EMAILS:
            mails[EmailState.OWED] = sum(row.waiting + row.due_later for row in waiting)
            mails[EmailState.SENDING] = sum(one.running for one in running)
        for row in waiting:
            found[row.queue] = _with_waiting(found.get(row.queue, QueueCounts()), row, caps.rows)
        for one in running:
            before = found.get(one.queue, QueueCounts())
            number = CappedNumber.total([before.running, CappedNumber.of(one.running, caps.rows)])
            found[one.queue] = before._replace(running=number)
    return QueueReading(found, busy, mails)


def with_dead(counts: dict[str, QueueCounts], problems: Sequence[Mapping[str, Any]]) -> dict[str, QueueCounts]:
    """Adds the rows of the problems `dead` to the counts of their queues."""
    found = dict(counts)
    for problem in problems:
        if problem["code"] == "dead":
            before = found.get(problem["subject"], QueueCounts())
            number = CappedNumber(problem["count"], problem.get("at_least", False))
            found[problem["subject"]] = before._replace(dead=CappedNumber.total([before.dead, number]))
    return found


def _with_waiting(before: QueueCounts, found: WaitingCounts, cap: int) -> QueueCounts:
    ages = [age for age in (before.oldest_due_seconds, found.oldest_due_seconds) if age is not None]
    return before._replace(
        waiting=CappedNumber.total([before.waiting, CappedNumber.of(found.waiting, cap)]),
        due_later=CappedNumber.total([before.due_later, CappedNumber.of(found.due_later, cap)]),
        oldest_due_seconds=max(ages, default=None),
    )


def count_mails(session: Session, counted: Mapping[str, int], caps: StatusCaps) -> dict[str, CappedNumber]:
    """Counts the mails by state.

    When there are more mails than the cap, those in states without an index, sent and cancelled, are counted only among
    the newest. Then there may be more in each of these states, also in one that none of the newest is in.

    Parameters:
      counted: the mails in the other states, which were counted by queue.
    """
    newest = fetch(session, MailCount, COUNT_NEWEST_MAILS, {"rows": caps.rows})
    all_are_new = sum(one.mails for one in newest) <= caps.rows
    counts = {one.state: CappedNumber(min(one.mails, caps.rows), not all_are_new) for one in newest}
    if not all_are_new:
        unknown = dict.fromkeys(map(str, EmailState), CappedNumber(0, at_least=True))
        none = dict.fromkeys((*STUCK_STATES, EmailState.OWED, EmailState.SENDING), 0)
        by_index = {str(state): CappedNumber.of(mails, caps.rows) for state, mails in (none | dict(counted)).items()}
        counts = unknown | counts | by_index
    return {state: number for state, number in sorted(counts.items()) if number.number or number.at_least}


__all__ = [
    "OF_QUEUE",
    "QueueCounts",
    "QueueReading",
    "count_mails",
    "count_queues",
    "queues_with",
    "read_waiting",
    "with_dead",
]
