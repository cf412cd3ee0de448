"""Finds files of duplicates by their link, or for the portal that asked for them."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text, update
from sqlmodel import col

from models.certificate import CertificateFile
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
from workers.sql import fetch_one

_FIND: Final = """
    SELECT f.id AS file_id, f.job_id, f.portal_id, f.name, f.kind, f.sha256, f.size, f.key_id, f.expires_at,
      f.expires_at <= now() AS expired,
      CASE f.kind WHEN 'pdf' THEN (
        SELECT d.id FROM certificate_duplicate d WHERE d.job_id = f.job_id ORDER BY d.position LIMIT 1)
      END AS duplicate_id,
      f.kind = 'pdf' AND EXISTS (
        SELECT 1 FROM certificate_duplicate d JOIN certificate k ON k.id = d.certificate_id
        JOIN certificate last ON last.enrollment_id = k.enrollment_id AND last.replaced_by IS NULL
        WHERE d.job_id = f.job_id AND last.revoked_at IS NOT NULL) AS revoked
    FROM certificate_file f WHERE {which}"""

# Finds a file by its identifier: with the duplicate it is of, when it is a single document, and whether the certificate
# of that one is revoked, or the one that replaced it.
FIND_FILE = text(_FIND.format(which="f.id = :file"))

# Finds the same by the job it came from.
FIND_FILE_OF_JOB = text(_FIND.format(which="f.job_id = :job"))


class DuplicateFile(NamedTuple):
    """The file that a job of duplicates made.

    Parameters:
      duplicate_id: the duplicate of a single document, from which it can be rendered again; None for a zip.
      revoked: the certificate of a single document was revoked, or the one that replaced it.
    """

    file_id: UUID
    job_id: UUID
    portal_id: UUID
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
        """The suffix of the file name in the store."""
        return f".{self.kind}"


def find_by_token(session: Session, keys: SigningKeys, token: str) -> DuplicateFile | Code:
    """Finds the file of a link, or the reason it is not given: `invalid_link`, `expired_link`, `certificate_revoked`.

    A zip is still given when one of its certificates is revoked, because the others in it are valid.
    """
    file_id = read_token(token)
    file = None if file_id is None else find_file(session, file_id)
    if file is None or not check_file_token(keys, token, key_id=file.key_id, file_id=file.file_id):
        return Code.INVALID_LINK
    if file.expired:
        return Code.EXPIRED_LINK
    return Code.CERTIFICATE_REVOKED if file.revoked else file


def find_by_job(session: Session, portal_id: UUID, job_id: UUID) -> DuplicateFile | None:
    """Finds the file of a portal's own job, also when its link has ended; the portal `local` finds all of them."""
    file = fetch_one(session, DuplicateFile, FIND_FILE_OF_JOB, {"job": job_id})
    return None if file is None or portal_id not in (file.portal_id, LOCAL_PORTAL_ID) else file


def find_file(session: Session, file_id: UUID) -> DuplicateFile | None:
    return fetch_one(session, DuplicateFile, FIND_FILE, {"file": file_id})


def file_address(keys: SigningKeys, file: DuplicateFile) -> str:
    """Returns the signed link that fetches the file until it expires."""
    return file_url(get_settings().link_base_url, make_file_token(keys, key_id=file.key_id, file_id=file.file_id))


def show_file(session: Session, job_id: UUID) -> dict[str, Any]:
    """Returns the file for the answer of its job: `name`, `expires_at` and `link`.

    It is read each time, because a result keeps neither a signed link nor a person's name. All are None without a file;
    `link` alone is None once it has ended.
    """
    file = fetch_one(session, DuplicateFile, FIND_FILE_OF_JOB, {"job": job_id})
    if file is None:
        return {"name": None, "expires_at": None, "link": None}
    link = None if file.expired or file.revoked else file_address(signing_keys(), file)
    return {"name": file.name, "expires_at": file.expires_at.isoformat(), "link": link}


def expect_refill(session: Session, file_id: UUID) -> None:
    """Records that a file is about to be filled anew, so that its bytes are deleted again when its link has ended."""
    session.execute(update(CertificateFile).where(col(CertificateFile.id) == file_id).values(dropped_at=None))


def replace_bytes(session: Session, file_id: UUID, sha256: str, size: int) -> None:
    """Records the hash and size of a file that was filled anew and differs from the first one."""
    changed = {"sha256": sha256, "size": size}
    session.execute(update(CertificateFile).where(col(CertificateFile.id) == file_id).values(changed))
