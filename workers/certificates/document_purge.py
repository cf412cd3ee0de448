"""Deletes documents from the store when their time is over; first the bytes, then the rows that name them."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, text, update
from sqlmodel import col

from models.certificate import CertificateFile, Rendering
from models.words import JobState
from workers.certificates.duplicates.making import DocumentMaker
from workers.database import Session, transaction
from workers.engine.acceptance import owe_successor
from workers.engine.claimer import BatchRun, counting_failures
from workers.engine.ledger import JOBS, ClaimedRow, WorkOutcome
from workers.requests.certificates import PurgeDocuments
from workers.sql import fetch

PART: Final = 500
"""The most documents of each kind that one part deletes."""

# Finds the documents of certificates that were emptied, because they still show the contents, and zips whose link has
# ended; at most a part of each. It locks nothing.
FIND_EXPIRED_DOCUMENTS = text("""
    (SELECT r.id, r.sha256, '.pdf' AS suffix, true AS rendering FROM rendering r
      JOIN certificate k ON k.id = r.certificate_id WHERE k.snapshot IS NULL ORDER BY r.id LIMIT :part)
    UNION ALL
    (SELECT f.id, f.sha256, '.zip', false FROM certificate_file f
      WHERE f.kind = 'zip' AND f.expires_at < now() AND f.dropped_at IS NULL ORDER BY f.id LIMIT :part)""")


class ExpiredDocument(NamedTuple):
    """Bytes to be deleted from the store."""

    id: UUID
    sha256: str
    suffix: str
    rendering: bool


def purge_documents(row: ClaimedRow) -> None:
    """Does one part of a claimed `purge_documents` job; after a full part the job owes the next."""
    with counting_failures(row):
        deleted = _delete_expired()

        def work(session: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
            _forget(session, deleted)
            more = len(deleted) >= PART
            if more:
                owe_successor(session, row.id, PurgeDocuments())
            result = {"deleted": len(deleted), "more": more}
            return [WorkOutcome(one.id, one.claim, JobState.SUCCEEDED, result) for one in held]

        BatchRun(JOBS, work).run([row])


def _delete_expired() -> list[ExpiredDocument]:
    with transaction() as session:
        expired = fetch(session, ExpiredDocument, FIND_EXPIRED_DOCUMENTS, {"part": PART})
    store = DocumentMaker.of_this_thread().store
    for one in expired:
        store.delete(one.sha256, one.suffix)
    return expired


def _forget(session: Session, deleted: Sequence[ExpiredDocument]) -> None:
    """Records that these documents are gone: renderings lose their rows, zips keep theirs."""
    renderings, zips = ([one.id for one in deleted if one.rendering is rendering] for rendering in (True, False))
    session.execute(delete(Rendering).where(col(Rendering.id).in_(renderings)))
    session.execute(update(CertificateFile).where(col(CertificateFile.id).in_(zips)).values(dropped_at=func.now()))
