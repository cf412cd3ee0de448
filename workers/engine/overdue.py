"""Takes back a lost lease that was counted against work, once its worker turns out to be alive.

A row that loses three leases counts as one that kills its workers. A worker that was slow, and comes back to a row that
was given to another, is no lost worker.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import text

from workers.database import is_transient, transaction, wait_briefly_for_locks
from workers.engine.ledger import LEDGERS, Claimed, ClaimedRow, Ledger
from workers.logs import get_logger

log = get_logger()

EXCUSE: Final = {
    ledger.table: text(f"""
        WITH slow AS (
          UPDATE job_attempt a SET outcome = 'overdue'
          FROM unnest(CAST(:ids AS uuid[]), CAST(:claims AS int[])) m (id, claim)
          WHERE a.row_id = m.id AND a.claim = m.claim AND a.ledger = '{ledger.table}' AND a.outcome = 'rescued'
          RETURNING a.row_id)
        UPDATE {ledger.table} t SET rescues = rescues - 1 FROM slow
        WHERE t.id = slow.row_id AND t.rescues > 0 AND t.finished_at IS NULL""")
    for ledger in LEDGERS
}
"""The statement, for each ledger, that takes back the lost leases of these claims; each is taken back once."""


def excuse(ledger: Ledger[Claimed], rows: Sequence[ClaimedRow[Claimed]]) -> None:
    """Takes back the leases that this process lost of these rows, if they were counted."""
    if not rows:
        return
    try:
        with transaction() as session:
            wait_briefly_for_locks(session)
            session.execute(EXCUSE[ledger.table], {"ids": [row.id for row in rows], "claims": [r.claim for r in rows]})
    except Exception as error:
        if not is_transient(error):
            raise
        log.warning("lease.not_excused", ledger=ledger.table, exc_info=error)
