"""The actors of `certificates` and `certificates_bulk`: they render outside transactions and record in short ones."""

import time
from collections.abc import Sequence
from typing import Final

from workers.actors.registry import do_jobs
from workers.certificates.duplicates.job import begin, record_chunk
from workers.certificates.duplicates.making import make_ahead
from workers.engine.chunks import ChunkedJob, keeping_leases
from workers.engine.claimer import (
    STOPPING,
    BatchRun,
    Claimer,
    counting_failures,
    give_back,
)
from workers.engine.ledger import JOBS, ClaimedRow
from workers.requests.certificates import DUPLICATE_KINDS
from workers.requests.queues import Queue

SIZE: Final = 50
"""Jobs claimed at once; those that issue certificates are done in one transaction."""

HOLD_SECONDS: Final = 5.0
"""Seconds for which one thread keeps the duplicates it claimed together; they are a part of a lease."""


def certificates() -> Claimer:
    """Makes the claimer of `certificates`, which issues many certificates at a time and does duplicates one by one."""
    return Claimer(JOBS, Queue.CERTIFICATES, do_batch, size=SIZE)


def certificates_bulk() -> Claimer:
    """Makes the claimer of `certificates_bulk`, which makes one zip at a time."""
    return Claimer(JOBS, Queue.CERTIFICATES_BULK, do_batch, size=1)


def do_batch(rows: Sequence[ClaimedRow]) -> bool:
    """Does claimed jobs; returns whether some were given back: they would have waited here, or overtaken another."""
    deadline = time.monotonic() + HOLD_SECONDS
    small, waiting, behind = in_order(rows)
    if behind:
        give_back(JOBS, behind)
    together = BatchRun(JOBS, do_jobs)
    if small:
        together.run(small)
    postponed = set(together.postponed)
    while waiting and not STOPPING.is_set() and time.monotonic() < deadline:
        done = False
        if waiting[0].lane in postponed:
            break
        with keeping_leases(waiting), counting_failures(waiting[0]):
            done = ChunkedJob(begin, record_chunk, ahead=make_ahead).run(waiting[0])
        row = waiting.pop(0)
        if not done:
            postponed.add(row.lane)
    if waiting:
        give_back(JOBS, waiting)
    return bool(waiting or behind)


def in_order(rows: Sequence[ClaimedRow]) -> tuple[list[ClaimedRow], list[ClaimedRow], list[ClaimedRow]]:
    """Divides claimed jobs into those done together, the duplicates made after them, and those behind a duplicate.

    The last must wait until their lane is claimed again: a revocation may not overtake a duplicate asked for before it.
    """
    small: list[ClaimedRow] = []
    duplicates: list[ClaimedRow] = []
    behind: list[ClaimedRow] = []
    for row in rows:
        if row.lane in {one.lane for one in behind}:
            behind.append(row)
        elif row.columns.kind in DUPLICATE_KINDS:
            duplicates.append(row)
        else:
            (behind if row.lane in {one.lane for one in duplicates} else small).append(row)
    return small, duplicates, behind
