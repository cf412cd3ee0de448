"""Reads what came to each queue, what waited and what ended, minute by minute, as the clock has counted it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import text

from models.counts import BANDS
from models.outlook import RATE_MINUTES
from workers.database import Session
from workers.engine.ledger import LEDGERS
from workers.sql import fetch

MINUTES: Final = 60
"""The minutes of a curve; the current minute is left out, because it is not over."""

_LEDGERS: Final = ", ".join(f"'{ledger.table}'" for ledger in LEDGERS)

_AGO: Final = "CAST(extract(epoch FROM date_trunc('minute', now()) - {0}.minute) / 60 AS int)"

_WITHIN: Final = f"""{{0}}.ledger IN ({_LEDGERS}) AND {{0}}.minute < date_trunc('minute', now())
      AND {{0}}.minute >= date_trunc('minute', now()) - make_interval(mins => :minutes)
      AND (CAST(:queue AS text) = '' OR {{0}}.queue = CAST(:queue AS text))"""

# Reads what waited and came in each of the last minutes, by queue.
READ_DEPTHS: Final = text(f"""
    SELECT ld.queue, {_AGO.format("ld")} AS ago, CAST(sum(ld.waiting) AS int) AS waiting,
      CAST(sum(ld.arrived) AS int) AS arrived
    FROM ledger_depth ld WHERE {_WITHIN.format("ld")} GROUP BY ld.queue, ld.minute""")

# Reads what ended in each of the last minutes, by queue.
READ_ENDED: Final = text(f"""
    SELECT lm.queue, {_AGO.format("lm")} AS ago, CAST(sum(lm.rows) AS int) AS ended
    FROM ledger_minute lm WHERE {_WITHIN.format("lm")} GROUP BY lm.queue, lm.minute""")

# Adds up how long what ended in the last minutes had waited, in bands.
READ_WAITS: Final = text(f"""
    SELECT ARRAY[{", ".join(f"coalesce(CAST(sum(lm.waited[{band}]) AS bigint), 0)" for band in range(1, BANDS + 1))}]
      AS bands
    FROM ledger_minute lm WHERE {_WITHIN.format("lm")}""")


class _Depth(NamedTuple):
    queue: str
    ago: int
    waiting: int
    arrived: int


class _Ended(NamedTuple):
    queue: str
    ago: int
    ended: int


class _Waits(NamedTuple):
    bands: list[int]


class QueueFlow(NamedTuple):
    """The numbers that waited, came and ended on a queue in each of the last whole minutes, the oldest first."""

    waiting: list[int]
    arrived: list[int]
    ended: list[int]

    @property
    def arrived_lately(self) -> int:
        """The jobs or mails that came in the last ``RATE_MINUTES``."""
        return sum(self.arrived[-RATE_MINUTES:])

    @property
    def ended_lately(self) -> int:
        """The jobs or mails that ended in the last ``RATE_MINUTES``."""
        return sum(self.ended[-RATE_MINUTES:])


def no_flow(minutes: int = MINUTES) -> QueueFlow:
    """Returns the flow of a queue on which nothing happened."""
    return QueueFlow([0] * minutes, [0] * minutes, [0] * minutes)


def read_flows(session: Session, queue: str = "", minutes: int = MINUTES) -> dict[str, QueueFlow]:
    """Reads the flows of the queues, or of one, on which anything happened."""
    asked = {"queue": queue, "minutes": minutes}
    flows: dict[str, QueueFlow] = {}
    for depth in fetch(session, _Depth, READ_DEPTHS, asked):
        flow = flows.setdefault(depth.queue, no_flow(minutes))
        flow.waiting[-depth.ago], flow.arrived[-depth.ago] = depth.waiting, depth.arrived
    for one in fetch(session, _Ended, READ_ENDED, asked):
        flows.setdefault(one.queue, no_flow(minutes)).ended[-one.ago] = one.ended
    return flows


def read_waits(session: Session, queue: str, minutes: int) -> Sequence[int]:
    """Reads how long what ended on a queue in the last minutes had waited, in the bands of ``BOUNDS``."""
    [found] = fetch(session, _Waits, READ_WAITS, {"queue": queue, "minutes": minutes})
    return found.bands


__all__ = ["MINUTES", "QueueFlow", "no_flow", "read_flows", "read_waits"]
