"""Gives a stuck job or mail all its attempts again, and records in the audit trail who asked for it."""

from typing import Final, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from workers.audit import record
from workers.database import Session
from workers.engine.ledger import JOBS, LEDGERS, revive
from workers.sql import fetch_one

LOCK_ROW: Final = {
    ledger.table: text(f"SELECT state, ({ledger.stuck}) AS stuck FROM {ledger.table} WHERE id = :id FOR NO KEY UPDATE")
    for ledger in LEDGERS
}
"""The statement that locks a job or mail and tells whether it is stuck, for each ledger."""


class LockedRow(NamedTuple):
    """A locked job or mail."""

    state: str
    stuck: bool


class RetryResult(NamedTuple):
    """The result of a retry.

    Parameters:
      answer: `revived`; `not_stuck`: nothing was changed; `not_kept`: the data it needs is no longer kept
        (``models/retention.py``, an erasure); `unknown`: no job and no mail has this id.
      ledger: `job` or `email`, empty when unknown.
      state: the state before the retry.
      queue: the queue to wake after the commit, empty unless revived.
    """

    answer: Literal["revived", "not_stuck", "not_kept", "unknown"]
    ledger: str = ""
    state: str = ""
    queue: str = ""


def retry(session: Session, row_id: UUID, *, requested_by: str) -> RetryResult:
    """Makes a dead job, or a mail that failed, expired or is uncertain, due now. Calling it again changes nothing.

    A mail then has at least five days left to be sent.
    """
    for ledger in LEDGERS:
        found = fetch_one(session, LockedRow, LOCK_ROW[ledger.table], {"id": row_id})
        if found is None:
            continue
        queue = revive(session, row_id)
        if queue is None:
            return RetryResult("not_kept" if found.stuck else "not_stuck", ledger.table, found.state)
        record(
            session,
            "retry",
            portal_id=LOCAL_PORTAL_ID,
            requested_by=requested_by,
            subject_id=row_id,
            job_id=row_id if ledger is JOBS else None,
            detail={"ledger": ledger.table},
        )
        return RetryResult("revived", ledger.table, found.state, queue)
    return RetryResult("unknown")
