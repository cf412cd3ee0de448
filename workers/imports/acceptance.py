"""Accepting the import of a file: the file, its job and what the job needs are committed together."""

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

# Makes the second of two that drop the same file at the same moment wait, until it finds the job of the first.
LOCK_CONTENT = text("SELECT pg_advisory_xact_lock(hashtextextended('import ' || CAST(:digest AS text), 0))")


def accept_file(session: Session, portal_id: UUID, file: BinaryIO, request: ImportRoster, *, key: str) -> AcceptedJob:
    """Keeps a file and records its import; see ``accept_import``.

    Parameters:
      request: its `file` is the digest of this file (``digest_of``).

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
    """Records the import of a file that is kept: once per key, and once while the same import is under way.

    Parameters:
      internal: Matricule itself asks, under a key no portal can use.

    Raises:
      InvalidRequest: the key cannot be one, or the file is not kept (any more).
      IdempotencyConflict: the key stands for another request.
    """
    if not internal:
        check_key(key)
    hashed = fingerprint(request)
    # First the file, then the turn: ``accept_file`` takes them in this order, too.
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
    """Marks the file as used, if it is kept. That holds it: neither retention nor an erasure takes it meanwhile."""
    which = (col(RosterFile.portal_id) == portal_id, col(RosterFile.sha256) == bytes.fromhex(request.file))
    return change(session, update(RosterFile).where(*which).values(used_at=func.now())) > 0


def _find_running(session: Session, portal_id: UUID, hashed: bytes) -> UUID | None:
    """The job of the same import, if it has not ended."""
    running = select(RosterImport.job_id).join(Job, col(Job.id) == col(RosterImport.job_id))
    alike = (col(RosterImport.portal_id) == portal_id, col(RosterImport.fingerprint) == hashed)
    first = running.where(*alike, col(Job.finished_at).is_(None)).order_by(col(RosterImport.created_at)).limit(1)
    return session.exec(first).first()


def digest_of(file: BinaryIO) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    file.seek(0)
    while part := file.read(PART):
        digest.update(part)
    return digest.hexdigest()
