"""Answers the bells of `certificates` and `certificates_bulk`: renders outside transactions, records in short ones."""

import time
from collections.abc import Sequence
from typing import Final

from workers.actors.registry import do_jobs
from workers.certificates.documents import DocumentMaker
from workers.certificates.duplicate_copies import begin, next_chunk
from workers.engine.chunks import ChunkedJob, keeping_leases
from workers.engine.claimer import (
    STOPPING,
    BatchRun,
    Claimer,
    give_back,
)
from workers.engine.ledger import (
    JOBS,
    ClaimedRow,
    DoWork,
    WorkOutcome,
)
from workers.requests.certificates import DUPLICATE_KINDS
from workers.requests.queues import Queue

SIZE: Final = 50
"""Jobs claimed at once: small ones are done in one transaction."""

HOLD_SECONDS: Final = 5.0
"""How long duplicates claimed together are kept for this thread: a part of a lease."""


def certificates() -> Claimer:
    """The claimer of `certificates`: certificates to be issued many at a time, duplicates of a few one by one."""
    return Claimer(JOBS, Queue.CERTIFICATES, do_batch, size=SIZE)


def certificates_bulk() -> Claimer:
    """The claimer of `certificates_bulk`: one zip at a time."""
    return Claimer(JOBS, Queue.CERTIFICATES_BULK, do_batch, size=1)


def do_batch(rows: Sequence[ClaimedRow]) -> bool:
    """Does claimed jobs; says whether some were given back, because others would wait too long for them."""
    deadline = time.monotonic() + HOLD_SECONDS
    small = [row for row in rows if row.columns["kind"] not in DUPLICATE_KINDS]
    if small:
        BatchRun(JOBS, do_jobs).run(small)
    waiting = [row for row in rows if row.columns["kind"] in DUPLICATE_KINDS]
    while waiting and not STOPPING.is_set() and time.monotonic() < deadline:
        with keeping_leases(waiting):
            _duplicate(waiting[0])
        del waiting[0]
    if waiting:
        give_back(JOBS, waiting)
    return bool(waiting)


def _duplicate(row: ClaimedRow) -> None:
    try:
        ChunkedJob(begin, next_chunk, ahead=DocumentMaker.of_this_thread().make_ahead).run(row)
    except Exception as error:  # noqa: BLE001 - outside any transaction: a setting, a request nobody can read
        BatchRun(JOBS, _failing(error)).run([row])


def _failing(error: Exception) -> DoWork:
    """Fails as the work did, so that it is tried again or ends as any job does."""

    def work(*_: object) -> Sequence[WorkOutcome]:
        raise error

    return work
