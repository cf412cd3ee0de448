"""Deletes documents from the store whose time is over; the bytes first, so that none is forgotten and stays."""

from collections.abc import Sequence

from models.words import JobState
from workers.certificates.document_retention import (
    PART,
    ExpiredDocument,
    find_over,
    forget,
)
from workers.certificates.documents import DocumentMaker
from workers.database import Session, transaction
from workers.engine.acceptance import owe_successor
from workers.engine.claimer import BatchRun
from workers.engine.ledger import (
    JOBS,
    ClaimedRow,
    WorkOutcome,
)
from workers.requests.certificates import PurgeDocuments


def purge_documents(row: ClaimedRow) -> None:
    """One part; while a part was full the job owes the next."""
    deleted: list[ExpiredDocument] = []
    trouble: Exception | None = None
    try:
        with transaction() as session:
            over = find_over(session)
        store = DocumentMaker.of_this_thread().store
        for one in over:
            store.delete(one.sha256, one.suffix)
            deleted.append(one)
    except Exception as error:  # noqa: BLE001 - raised again in the transaction below, where failures are counted
        trouble = error

    def work(session: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
        if trouble is not None:
            raise trouble
        forget(session, deleted)
        more = len(deleted) >= PART
        if more:
            owe_successor(session, row.id, PurgeDocuments())
        result = {"deleted": len(deleted), "more": more}
        return [WorkOutcome(one.id, one.claim, JobState.SUCCEEDED, result) for one in held]

    BatchRun(JOBS, work).run([row])
