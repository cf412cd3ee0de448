"""Stopping the import of a file: a flag its next chunk looks at, so that nothing half-done is left."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import text

from models.words import Code, JobState
from workers.audit import record
from workers.database import Session
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.imports.importing import record_import
from workers.requests.imports import CancelImport, ImportRoster
from workers.requests.registry import parse

FIND_IMPORT = text("""
    SELECT kind, CAST(request AS text) AS request, finished_at IS NOT NULL AS finished FROM job
    WHERE id = :job AND portal_id = :portal AND kind = :kind""")

CANCEL_IMPORT = text("UPDATE roster SET cancelled_at = coalesce(cancelled_at, now()) WHERE job_id = :job")


def cancel_imports(session: Session, rows: Sequence[ClaimedRow]) -> list[WorkOutcome]:
    """Does a batch of `cancel_import` jobs; an import that is being done stops before its next chunk."""
    return [_cancel(session, row) for row in rows]


def _cancel(session: Session, row: ClaimedRow) -> WorkOutcome:
    request = cast("CancelImport", parse(row.columns["kind"], row.columns["request"]))
    portal_id = row.columns["portal_id"]
    wanted = {"job": request.job, "portal": portal_id, "kind": ImportRoster.kind}
    found = session.execute(FIND_IMPORT, wanted).one_or_none()
    if found is None or found.finished:
        code = Code.NOT_FOUND if found is None else Code.ALREADY_FINISHED
        return WorkOutcome(row.id, row.claim, JobState.REFUSED, {"code": code, "field": "job"})
    # One that came through the queue of portals and has not begun has no row of its own yet.
    record_import(session, request.job, portal_id, cast("ImportRoster", parse(found.kind, found.request)))
    session.execute(CANCEL_IMPORT, {"job": request.job})
    asker = request.requested_by
    record(session, request.kind, portal_id=portal_id, requested_by=asker, subject_id=request.job, job_id=row.id)
    return WorkOutcome(row.id, row.claim, JobState.SUCCEEDED, {"code": Code.CANCELLED})
