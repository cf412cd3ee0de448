"""Answers the bells of `enrollments` and `maintenance`: small jobs, many in one transaction."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from workers.actors.claimer import BatchRun, Claimer, give_back
from workers.ledger import JOBS, Claimed
from workers.logs import get_logger
from workers.queues import Queue
from workers.services.jobs import do_jobs
from workers.settings import get_settings

log = get_logger()

MOST_ASKED: Final = 200_000
"""Characters of requests done in one transaction, about 2,000 people: others must not wait long for their contracts."""


def affordable(rows: Sequence[Claimed]) -> Sequence[Claimed]:
    """The first of these claimed jobs, as many as one short transaction can do, at least one; gives the others back."""
    asked = accumulate(len(row.columns["request"]) for row in rows)
    count = max(1, sum(total <= MOST_ASKED for total in asked))
    if rows[count:]:
        give_back(JOBS, rows[count:])
    return rows[:count]


def do_batch(rows: Sequence[Claimed]) -> None:
    """Does a batch of claimed jobs."""
    BatchRun(JOBS, do_jobs).run(affordable(rows))


def enrollments() -> Claimer:
    """The claimer of `enrollments`."""
    return Claimer(JOBS, Queue.ENROLLMENTS, do_batch, size=get_settings().claim_size)


def maintenance() -> Claimer:
    """The claimer of `maintenance`: one job at a time."""
    return Claimer(JOBS, Queue.MAINTENANCE, do_batch, size=1)
