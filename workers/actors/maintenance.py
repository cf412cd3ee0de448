"""The actor of `maintenance`, which does one job at a time: reconciliation, retention, requests about one person."""

from collections.abc import Sequence

from workers.actors.enrollments import do_batch
from workers.certificates.document_purge import purge_documents
from workers.engine.claimer import Claimer
from workers.engine.ledger import JOBS, ClaimedRow
from workers.imports.scanning import scan_inboxes
from workers.requests.certificates import PurgeDocuments
from workers.requests.internal import ScanInboxes
from workers.requests.queues import Queue


def maintenance() -> Claimer:
    """Makes the claimer of `maintenance`, which claims one job at a time."""
    return Claimer(JOBS, Queue.MAINTENANCE, maintain, size=1)


def maintain(rows: Sequence[ClaimedRow]) -> bool:
    """Does claimed maintenance jobs; work that needs files or the network is done outside transactions."""
    kinds = [row.columns.kind for row in rows]
    if kinds == [ScanInboxes.kind]:
        scan_inboxes(rows[0])
        return False
    if kinds == [PurgeDocuments.kind]:
        purge_documents(rows[0])
        return False
    return do_batch(rows)
