"""Answers the bells of `enrollments` and `maintenance`: small jobs, many in one transaction."""

from collections.abc import Sequence

from workers.actors.claimer import BatchRun, Claimer
from workers.ledger import JOBS, Claimed
from workers.logs import get_logger
from workers.queues import Queue
from workers.services.jobs import do_jobs
from workers.settings import get_settings

log = get_logger()


def do_batch(rows: Sequence[Claimed]) -> None:
    """Does a batch of claimed jobs."""
    BatchRun(JOBS, do_jobs).run(rows)


def enrollments() -> Claimer:
    """The claimer of `enrollments`."""
    return Claimer(JOBS, Queue.ENROLLMENTS, do_batch, size=get_settings().claim_size)


def maintenance() -> Claimer:
    """The claimer of `maintenance`: one job at a time."""
    return Claimer(JOBS, Queue.MAINTENANCE, do_batch, size=1)
