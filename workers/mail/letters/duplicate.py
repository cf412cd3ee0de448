"""Writes the mail that brings duplicates: attached when they are small enough, else behind a link."""

from typing import Any, Final
from uuid import UUID

from sqlmodel import select

from models.certificate import CertificateDuplicate
from models.words import Code, EmailKind, EmailState
from workers.certificates.duplicates.files import DuplicateFile, file_address, find_file
from workers.database import Session
from workers.engine.results import count_codes
from workers.mail.claimed import ClaimedMail
from workers.mail.letters.facts import MailFacts
from workers.mail.letters.letter import Letter, names, not_wanted
from workers.security.keys import signing_keys

MOST_ATTACHED: Final = 5_000_000
"""The most bytes that a mail carries; a larger file is behind its link alone."""


def write_duplicate(session: Session, mail: ClaimedMail, facts: MailFacts) -> Letter:
    """Writes the mail, unless its file is gone. The file is read later, when the mail is rendered."""
    file_id = mail.context.get("file_id")
    file = find_file(session, UUID(file_id)) if file_id else None
    if file is None or file.revoked:
        return not_wanted(mail)
    if file.expired:
        return not_wanted(mail, EmailState.EXPIRED)
    return Letter(mail, EmailKind.DUPLICATE, names(facts) | _values(session, file), file_id=file.file_id)


def _values(session: Session, file: DuplicateFile) -> dict[str, Any]:
    counts = count_codes(session, file.job_id)
    document = select(CertificateDuplicate.document).where(CertificateDuplicate.job_id == file.job_id).limit(1)
    return {
        "job_id": str(file.job_id),
        "document": session.exec(document).first(),
        "made": counts[Code.DUPLICATED],
        "refused": counts.total() - counts[Code.DUPLICATED],
        "file_name": file.name,
        "kind": file.kind,
        "attached": file.size <= MOST_ATTACHED,
        "link": file_address(signing_keys(), file),
        "expires_at": file.expires_at,
    }


WRITERS: Final = {EmailKind.DUPLICATE: write_duplicate}
