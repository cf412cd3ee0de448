"""Retrying what is stuck: a job or mail gets all its attempts again, and who asked for it is recorded."""

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
"""Holds a job or a mail, and says whether it ended without what it is for."""


class LockedRow(NamedTuple):
    """A job or a mail while it is held."""

    state: str
    stuck: bool


class RetryResult(NamedTuple):
    """What a retry came to.

    Parameters:
      answer: `revived`; `not_stuck`, and nothing was changed; `not_kept`: what it would need is no longer there
        (``models/retention.py``, an erasure); `unknown`: neither a job nor a mail has this id.
      ledger: `job` or `email`, empty when unknown.
      state: the state it had.
      queue: the queue to wake after the commit, empty unless revived.
    """

    answer: Literal["revived", "not_stuck", "not_kept", "unknown"]
    ledger: str = ""
    state: str = ""
    queue: str = ""


def retry(session: Session, row_id: UUID, *, requested_by: str) -> RetryResult:
    """Makes a dead job, or a mail that failed, expired or was left uncertain, due now. Twice does it once.

    A mail has five days more to be sent, unless it had more left.
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
