"""The actor of `enrollments`: small jobs that people wait for, many in one transaction."""

import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from workers.actors.registry import do_jobs
from workers.engine.claimer import (
    STOPPING,
    BatchRun,
    Claimer,
    give_back,
)
from workers.engine.ledger import JOBS, ClaimedRow
from workers.logs import get_logger
from workers.requests.queues import Queue
from workers.settings import get_settings

log = get_logger()

MOST_ASKED: Final = 200_000
"""Characters of requests done in one transaction, about 2,000 people: it must not hold the contracts for long."""


HOLD_SECONDS: Final = 0.5
"""Seconds for which claimed jobs that do not fit in one transaction are kept for the next ones.

Claiming them again for each transaction would cost as much as doing them; keeping them for long would delay new jobs.
"""


def affordable(rows: Sequence[ClaimedRow]) -> int:
    """Counts the claimed jobs, from the first, that one short transaction can do; at least one."""
    asked = accumulate(len(row.columns.request) for row in rows)
    return max(1, sum(total <= MOST_ASKED for total in asked))


def do_batch(rows: Sequence[ClaimedRow]) -> bool:
    """Does claimed jobs in short transactions; returns whether some were given back.

    Lanes that were postponed before come last and have a time of their own: a contract that is still locked makes no
    other wait, and a flood of others does not keep them from being tried again.
    """
    lanes = {row.lane for row in rows if row.postponements}
    others = [row for row in rows if row.lane not in lanes]
    postponed = [row for row in rows if row.lane in lanes]
    given_back = [_do_in_time(some) for some in (others, postponed)]
    return any(given_back)


def _do_in_time(rows: Sequence[ClaimedRow]) -> bool:
    """Does jobs, in as many short transactions as fit in half a second; returns whether some were given back.

    After a transaction that failed in part, the rest is given back too, so that no job overtakes a postponed one in its
    lane.
    """
    deadline = time.monotonic() + HOLD_SECONDS
    going = True
    while rows and going:
        count = affordable(rows)
        going = BatchRun(JOBS, do_jobs).run(rows[:count]) and not STOPPING.is_set() and time.monotonic() < deadline
        rows = rows[count:]
    if rows:
        give_back(JOBS, rows)
    return bool(rows)


def enrollments() -> Claimer:
    """Makes the claimer of `enrollments`."""
    return Claimer(JOBS, Queue.ENROLLMENTS, do_batch, size=get_settings().claim_size)
