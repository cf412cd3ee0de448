"""The mail that brings duplicates: attached when they are small enough, else behind a link."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from models.words import Code, EmailKind, EmailState
from workers.certificates.file_links import file_address, find_file
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.engine.results import count_codes
from workers.mail.letters.letter import Letter, names, not_wanted
from workers.security.keys import signing_keys

MOST_ATTACHED: Final = 5_000_000
"""Bytes a mail carries; what is larger is behind its link alone."""

READ_FILE = text("""
    SELECT (SELECT document FROM certificate_duplicate WHERE job_id = :job LIMIT 1) AS document,
      f.expires_at <= now() AS expired FROM certificate_file f WHERE f.id = :file""")


def write_duplicate(session: Session, row: ClaimedRow, fact: Any) -> Letter:
    """The file is read when the mail is rendered, after this transaction: `file` is its identifier."""
    file_id = UUID((row.columns["context"] or {}).get("file_id", "")) if row.columns["context"] else None
    file = find_file(session, file_id) if file_id else None
    if file is None or file.revoked:
        return not_wanted(row)
    found = session.execute(READ_FILE, {"file": file.file_id, "job": file.job_id}).one()
    if found.expired:
        return not_wanted(row, EmailState.EXPIRED)
    counts = count_codes(session, file.job_id)
    context = {
        "job_id": str(file.job_id),
        "document": found.document,
        "made": counts[Code.DUPLICATED],
        "refused": counts.total() - counts[Code.DUPLICATED],
        "file_name": file.name,
        "kind": file.kind,
        "attached": file.size <= MOST_ATTACHED,
        "link": file_address(signing_keys(), file),
        "expires_at": file.expires_at,
    }
    return Letter(row, EmailKind.DUPLICATE, names(fact) | context, file_id=file.file_id)


WRITERS: Final = {
    EmailKind.DUPLICATE: write_duplicate,
}
