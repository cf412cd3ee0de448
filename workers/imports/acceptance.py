"""Accepting the import of a file: the file, its job and what the job needs are committed together."""

import hashlib
from typing import BinaryIO
from uuid import UUID

from sqlalchemy import text

from models.words import Code
from workers.database import Session
from workers.engine.acceptance import AcceptedJob, accept_internal, add_key, find_accepted
from workers.errors import InvalidRequest, Problem
from workers.imports.files import PART, store_file
from workers.imports.importing import record_import
from workers.requests.base import check_key, fingerprint
from workers.requests.imports import ImportRoster

# Of two that drop the same file at the same moment, the second waits and finds the job of the first.
LOCK_CONTENT = text("SELECT pg_advisory_xact_lock(hashtextextended('import ' || CAST(:digest AS text), 0))")

FIND_RUNNING_IMPORT = text("""
    SELECT r.job_id FROM roster r JOIN job j ON j.id = r.job_id
    WHERE r.portal_id = :portal AND r.fingerprint = :fingerprint AND j.finished_at IS NULL
    ORDER BY r.created_at LIMIT 1""")

# A use, which holds the file: neither retention nor an erasure takes it while its import is accepted.
MARK_FILE_USED = text(
    "UPDATE roster_file SET used_at = now() WHERE portal_id = :portal AND sha256 = :sha256 RETURNING 1"
)


def accept_file(session: Session, portal_id: UUID, file: BinaryIO, request: ImportRoster, *, key: str) -> AcceptedJob:
    """Keeps a file and records its import; see ``accept_import``. `request.file` is what ``digest_of`` says of it.

    Raises:
      InvalidRequest: the key cannot be one.
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
    # First the file, then the turn: in this order whoever hands the file over with the request takes them, too.
    kept = session.execute(MARK_FILE_USED, {"portal": portal_id, "sha256": bytes.fromhex(request.file)}).scalar()
    session.execute(LOCK_CONTENT, {"digest": f"{portal_id} {hashed.hex()}"})
    if find_accepted(session, portal_id, key) is None:
        if kept is None:
            raise InvalidRequest(Problem(Code.INVALID_REQUEST, "file", "no such file is kept: hand it over again"))
        running = session.execute(FIND_RUNNING_IMPORT, {"portal": portal_id, "fingerprint": hashed}).scalar()
        if running is not None:
            add_key(session, portal_id, key, hashed, running)
            return AcceptedJob(running, request.queue, repeated=True)
    accepted = accept_internal(session, portal_id, request, request.model_dump_json(), key=key)
    if not accepted.repeated:
        record_import(session, accepted.job_id, portal_id, request)
    return accepted


def digest_of(file: BinaryIO) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    file.seek(0)
    while part := file.read(PART):
        digest.update(part)
    return digest.hexdigest()
