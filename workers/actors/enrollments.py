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
"""Characters of requests done in one transaction, about 2,000 people: others must not wait long for their contracts."""


HOLD_SECONDS: Final = 0.5
"""How long claimed jobs that are too many for one transaction are kept for the next: claiming them again for each would
cost as much as doing them, and a job that comes meanwhile must not wait.
"""


def affordable(rows: Sequence[ClaimedRow]) -> int:
    """How many of these claimed jobs, from the first, one short transaction can do: at least one."""
    asked = accumulate(len(row.columns["request"]) for row in rows)
    return max(1, sum(total <= MOST_ASKED for total in asked))


def do_batch(rows: Sequence[ClaimedRow]) -> bool:
    """Does claimed jobs, in as many short transactions as fit in half a second; says whether some were given back.

    After a part that was not done at once the rest is given back too: a job set back must not be overtaken in its lane.
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
    """The claimer of `enrollments`."""
    return Claimer(JOBS, Queue.ENROLLMENTS, do_batch, size=get_settings().claim_size)
