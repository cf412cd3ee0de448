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
    """Does claimed jobs; returns whether some were given back, because they would have waited too long here."""
    deadline = time.monotonic() + HOLD_SECONDS
    small = [row for row in rows if row.columns["kind"] not in DUPLICATE_KINDS]
    if small:
        BatchRun(JOBS, do_jobs).run(small)
    waiting = [row for row in rows if row.columns["kind"] in DUPLICATE_KINDS]
    while waiting and not STOPPING.is_set() and time.monotonic() < deadline:
        with keeping_leases(waiting), counting_failures(waiting[0]):
            ChunkedJob(begin, record_chunk, ahead=make_ahead).run(waiting[0])
        del waiting[0]
    if waiting:
        give_back(JOBS, waiting)
    return bool(waiting)
