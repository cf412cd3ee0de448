"""Files of duplicates, found by their link or by whoever asked for them."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from models.words import Code
from workers.database import Session
from workers.security.keys import signing_keys
from workers.security.tokens import (
    SigningKeys,
    check_file_token,
    file_url,
    make_file_token,
    read_token,
)
from workers.settings import get_settings

FIND_FILE = text("""
    SELECT f.id, f.job_id, f.portal_id, f.name, f.kind, f.sha256, f.size, f.key_id, f.expires_at,
      f.expires_at <= now() AS expired,
      (SELECT d.id FROM certificate_duplicate d WHERE d.job_id = f.job_id ORDER BY d.position LIMIT 1) AS duplicate_id,
      f.kind = 'pdf' AND EXISTS (
        SELECT 1 FROM certificate_duplicate d JOIN certificate k ON k.id = d.certificate_id
        JOIN certificate last ON last.enrollment_id = k.enrollment_id AND last.replaced_by IS NULL
        WHERE d.job_id = f.job_id AND last.revoked_at IS NOT NULL) AS revoked
    FROM certificate_file f WHERE f.id = :file OR f.job_id = :job""")


RESTORE_FILE = text("UPDATE certificate_file SET dropped_at = NULL WHERE id = :file")

REPLACE_CONTENT = text("UPDATE certificate_file SET sha256 = :sha256, size = :size WHERE id = :file")


class DuplicateFile(NamedTuple):
    """What a job of duplicates gave.

    Parameters:
      duplicate_id: of a single document: of which it can be rendered again.
      revoked: of a single document: its certificate is no longer valid, nor one that replaced it.
    """

    file_id: UUID
    job_id: UUID
    name: str
    kind: str
    sha256: str
    size: int
    key_id: str
    expires_at: datetime
    expired: bool
    duplicate_id: UUID | None
    revoked: bool

    @property
    def suffix(self) -> str:
        """Of its name in the store."""
        return f".{self.kind}"


def find_by_token(session: Session, keys: SigningKeys, token: str) -> DuplicateFile | Code:
    """The file a link leads to, or why it leads nowhere: `invalid_link`, `expired_link`, `certificate_revoked`.

    A zip goes on when one of its certificates is revoked: it is the others' too.
    """
    file_id = read_token(token)
    found = None if file_id is None else _find(session, file=file_id)
    if found is None or not check_file_token(keys, token, key_id=found.key_id, file_id=found.id):
        return Code.INVALID_LINK
    if found.expired:
        return Code.EXPIRED_LINK
    return Code.CERTIFICATE_REVOKED if found.revoked else _file(found)


def find_by_job(session: Session, portal_id: UUID, job_id: UUID) -> DuplicateFile | None:
    """The file a portal's own job gave, whatever became of its link; the portal `local` finds those of all."""
    found = _find(session, job=job_id)
    return None if found is None or portal_id not in (found.portal_id, LOCAL_PORTAL_ID) else _file(found)


def find_file(session: Session, file_id: UUID) -> DuplicateFile | None:
    """A file by its identifier."""
    found = _find(session, file=file_id)
    return None if found is None else _file(found)


def _find(session: Session, *, file: UUID | None = None, job: UUID | None = None) -> Any:
    return session.execute(FIND_FILE, {"file": file, "job": job}).one_or_none()


def _file(found: Any) -> DuplicateFile:
    single = found.duplicate_id if found.kind == "pdf" else None
    return DuplicateFile(found.id, found.job_id, found.name, found.kind, found.sha256, found.size, found.key_id,
                found.expires_at, found.expired, single, found.revoked)  # fmt: skip


def file_address(keys: SigningKeys, file: DuplicateFile) -> str:
    """Where anybody who holds this link fetches the file until it expires."""
    return file_url(get_settings().link_base_url, make_file_token(keys, key_id=file.key_id, file_id=file.file_id))


def show_file(session: Session, job_id: UUID) -> dict[str, Any]:
    """What whoever reads a job is told of its file: `name`, `expires_at`, and where it is fetched, `link`.

    Looked up each time, for neither a signed link nor somebody's name is kept in a result; None once it is over.
    """
    found = _find(session, job=job_id)
    if found is None:
        return {"name": None, "expires_at": None, "link": None}
    link = None if found.expired or found.revoked else file_address(signing_keys(), _file(found))
    return {"name": found.name, "expires_at": found.expires_at.isoformat(), "link": link}


def refill(session: Session, file_id: UUID) -> None:
    """Remembers that a file is about to be filled anew: its bytes are to be deleted once more when its link is over."""
    session.execute(RESTORE_FILE, {"file": file_id})


def replace_bytes(session: Session, file_id: UUID, sha256: str, size: int) -> None:
    """Remembers that a file was filled anew, and differs from what it was."""
    session.execute(REPLACE_CONTENT, {"file": file_id, "sha256": sha256, "size": size})
