"""Accepts the import of a file: the file, its job and what the job needs are committed together."""

import hashlib
from typing import BinaryIO
from uuid import UUID

from sqlalchemy import func, text, update
from sqlmodel import col, select

from models.job import Job
from models.roster import RosterFile, RosterImport
from models.words import Code
from workers.database import Session
from workers.engine.acceptance import AcceptedJob, accept_internal, add_key, find_accepted
from workers.errors import InvalidRequest, Problem
from workers.imports.files import PART, store_file
from workers.imports.importing import record_import
from workers.requests.base import check_key, fingerprint
from workers.requests.imports import ImportRoster
from workers.sql import change

# Lets one request at a time accept this import: of two at the same moment the second waits and finds the first job.
LOCK_CONTENT = text("SELECT pg_advisory_xact_lock(hashtextextended('import ' || CAST(:digest AS text), 0))")


def accept_file(session: Session, portal_id: UUID, file: BinaryIO, request: ImportRoster, *, key: str) -> AcceptedJob:
    """Keeps a file and records its import, as ``accept_import`` does.

    Parameters:
      request: the import; its `file` is the digest of this file (``digest_of``).

    Raises:
      InvalidRequest: the key cannot be one, or the file has another digest.
      IdempotencyConflict: the key stands for another request.
    """
    stored = store_file(session, portal_id, file)
    if stored != request.file:
        raise InvalidRequest(Problem(Code.INVALID_REQUEST, "file", "the file changed while it was being read"))
    return accept_import(session, portal_id, request, key=key)


def accept_import(
    session: Session, portal_id: UUID, request: ImportRoster, *, key: str, internal: bool = False
) -> AcceptedJob:
    """Records the import of a kept file: once per key, and once while the same import is in progress.

    Parameters:
      internal: Matricule itself asks, under a key no portal can use.

    Raises:
      InvalidRequest: the key cannot be one, or the file is not kept (any more).
      IdempotencyConflict: the key stands for another request.
    """
    if not internal:
        check_key(key)
    hashed = fingerprint(request)
    # The file is locked before the import, as in ``accept_file``.
    kept = _hold_file(session, portal_id, request)
    session.execute(LOCK_CONTENT, {"digest": f"{portal_id} {hashed.hex()}"})
    if find_accepted(session, portal_id, key) is None:
        if not kept:
            raise InvalidRequest(Problem(Code.INVALID_REQUEST, "file", "no such file is kept: hand it over again"))
        if (running := _find_running(session, portal_id, hashed)) is not None:
            add_key(session, portal_id, key, hashed, running)
            return AcceptedJob(running, request.queue, repeated=True)
    accepted = accept_internal(session, portal_id, request, request.model_dump_json(), key=key)
    if not accepted.repeated:
        record_import(session, accepted.job_id, portal_id, request)
    return accepted


def _hold_file(session: Session, portal_id: UUID, request: ImportRoster) -> bool:
    """Marks the file as used, if it is kept; the lock keeps retention and erasures from deleting it meanwhile."""
    which = (col(RosterFile.portal_id) == portal_id, col(RosterFile.sha256) == bytes.fromhex(request.file))
    return change(session, update(RosterFile).where(*which).values(used_at=func.now())) > 0


def _find_running(session: Session, portal_id: UUID, hashed: bytes) -> UUID | None:
    """Finds the job of the same import that has not ended."""
    running = select(RosterImport.job_id).join(Job, col(Job.id) == col(RosterImport.job_id))
    alike = (col(RosterImport.portal_id) == portal_id, col(RosterImport.fingerprint) == hashed)
    first = running.where(*alike, col(Job.finished_at).is_(None)).order_by(col(RosterImport.created_at)).limit(1)
    return session.exec(first).first()


def digest_of(file: BinaryIO) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    file.seek(0)
    while part := file.read(PART):
        digest.update(part)
    return digest.hexdigest()
