"""The course of a job of duplicates: what is still to be rendered, what was, and the file it all ends in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.certificate import FILE_DAYS, group_code
from models.document import (
    CertificateSnapshot,
    Document,
    PrintedCertificate,
    PrintedDuplicate,
    document_file_name,
)
from models.paris import day_in_paris
from models.words import Code, EmailKind, JobState
from workers.certificates.duplicates import DuplicateRequest, read_duplicate_request, register
from workers.database import Session, wait_briefly_for_locks
from workers.engine.chunks import Chunk
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import count_codes
from workers.outbox.mails import OwedMail, owe
from workers.outbox.suppression import read_suppressed
from workers.requests.certificates import DuplicateCertificates, DuplicateOwnCertificate
from workers.security.keys import signing_keys

CHUNK: Final = 10
"""Duplicates rendered between two commits: a fraction of a second, so that a lease is never in doubt."""


READ_COPIES = text(
    """
    SELECT d.id, d.certificate_id, d.position, d.number, d.document, d.locale, d.issued_at,
      k.number AS certificate_number, k.code, k.snapshot, k.issued_at AS certificate_issued_at,
      earlier.number AS replaces,
      r.sha256, r.size, p.code AS result
    FROM certificate_duplicate d JOIN certificate k ON k.id = d.certificate_id
    JOIN job_person p ON p.job_id = d.job_id AND p.position = d.position
    LEFT JOIN certificate earlier ON earlier.enrollment_id = k.enrollment_id AND earlier.version = k.version - 1
    LEFT JOIN LATERAL (
      SELECT sha256, size FROM rendering WHERE duplicate_id = d.id ORDER BY rendered_at DESC, id DESC LIMIT 1
    ) r ON true
    WHERE {which} ORDER BY d.position""".replace("{which}", "d.job_id = :job")
)

READ_ONE_COPY = text(str(READ_COPIES).replace("d.job_id = :job", "d.id = :duplicate"))

READ_LOGOS = text("SELECT sha256, content FROM logo WHERE sha256 = ANY(CAST(:digests AS text[]))")

INSERT_RENDERING = text("""
    INSERT INTO rendering (id, certificate_id, duplicate_id, document, locale, sha256, size, sealed)
    VALUES (:id, :certificate, :duplicate, :document, :locale, :sha256, :size, :sealed) ON CONFLICT DO NOTHING""")

MARK_NOT_RENDERED = text("UPDATE job_person SET code = :code WHERE job_id = :job AND position = :position")

INSERT_FILE = text("""
    INSERT INTO certificate_file (id, job_id, portal_id, name, kind, sha256, size, key_id, expires_at)
    VALUES (:id, :job, :portal, :name, :kind, :sha256, :size, :key_id, now() + :days)
    ON CONFLICT (job_id) DO NOTHING""")

# An erasure or a correction of the address takes the account whole: it waits and then finds the mail, or it is waited
# for and the account read as it is afterwards.
READ_RECIPIENT = text("""
    SELECT c.id AS contract_id, c.company_id, e.id AS enrollment_id, a.id AS account_id, a.email_norm,
      a.erased_at IS NOT NULL AS erased
    FROM job_person p JOIN enrollment e ON e.id = p.enrollment_id JOIN contract c ON c.id = e.contract_id
    JOIN account a ON a.id = e.account_id WHERE p.job_id = :job AND p.code = 'duplicated'
    ORDER BY p.position LIMIT 1 FOR KEY SHARE OF a""")


class DuplicateCopy(NamedTuple):
    """One duplicate to be rendered, and its bytes once they are recorded."""

    duplicate_id: UUID
    certificate_id: UUID
    position: int
    document: Document
    locale: str
    printed: PrintedCertificate
    issued_at: Any
    sha256: str | None = None
    size: int | None = None

    @property
    def file_name(self) -> str:
        """Readable, and the only one of its name."""
        snapshot, duplicate = self.printed.snapshot, self.printed.duplicate
        number = duplicate.number if duplicate else self.printed.number
        return document_file_name(self.document, self.locale, snapshot.first_name, snapshot.last_name, number)


class RenderedCopy(NamedTuple):
    """Bytes that were put in the store; or none, when this one document cannot be made."""

    copy: DuplicateCopy
    sha256: str | None
    size: int = 0
    sealed: bool = False


class AssembledFile(NamedTuple):
    """The file the whole job ends in."""

    name: str
    kind: str  # pdf, zip
    sha256: str
    size: int


@dataclass(slots=True)
class PreparedWork:
    """What was done ahead of a chunk's transaction; what went wrong is raised inside it."""

    made: list[RenderedCopy] = field(default_factory=list)
    assembled: AssembledFile | None = None
    trouble: Exception | None = None


@dataclass(frozen=True, slots=True)
class DuplicateRun:
    """A job of duplicates on its way.

    Parameters:
      todo: what is still to be rendered, in order.
      done: what was, and is recorded.
      logos: the pictures on them, by hash.
      work: what is made ahead of the next chunk.
    """

    row: ClaimedRow
    request: DuplicateRequest
    todo: tuple[DuplicateCopy, ...]
    done: tuple[DuplicateCopy, ...]
    logos: Mapping[str, bytes]
    work: PreparedWork = field(default_factory=PreparedWork)


def begin(session: Session, row: ClaimedRow) -> DuplicateRun:
    """Registers the duplicates the first time; takes the job up where its last committed chunk left it."""
    request = read_duplicate_request(row)
    register(session, row, request)
    copies = [
        _copy(found) for found in session.execute(READ_COPIES, {"job": row.id}) if found.result == Code.DUPLICATED
    ]
    done = tuple(copy for copy in copies if copy.sha256 is not None)
    todo = tuple(copy for copy in copies if copy.sha256 is None)
    return DuplicateRun(row, request, todo, done, read_logos(session, [copy.printed.snapshot for copy in todo]))


def read_copy(session: Session, duplicate_id: UUID) -> DuplicateCopy | None:
    """One duplicate of the register, if what it says is still kept."""
    found = session.execute(READ_ONE_COPY, {"duplicate": duplicate_id}).one_or_none()
    return None if found is None or found.snapshot is None else _copy(found)


def read_copies(session: Session, job_id: UUID) -> tuple[list[DuplicateCopy], str]:
    """The duplicates a job made, in order, and their language, but those whose certificate says nothing any more."""
    found = [one for one in session.execute(READ_COPIES, {"job": job_id}) if one.snapshot and one.sha256]
    return [_copy(one) for one in found], found[0].locale if found else ""


def _copy(found: Any) -> DuplicateCopy:
    printed = PrintedCertificate(
        snapshot=CertificateSnapshot.model_validate(found.snapshot),
        number=found.certificate_number,
        code=group_code(found.code),
        issued_on=day_in_paris(found.certificate_issued_at),
        replaces=found.replaces,
        duplicate=PrintedDuplicate(number=found.number, issued_on=day_in_paris(found.issued_at)),
    )
    document = Document(found.document)
    return DuplicateCopy(
        found.id,
        found.certificate_id,
        found.position,
        document,
        found.locale,
        printed,
        found.issued_at,
        found.sha256,
        found.size,
    )


def read_logos(session: Session, snapshots: Sequence[CertificateSnapshot]) -> dict[str, bytes]:
    """The pictures these certificates show."""
    digests = {one for snapshot in snapshots for one in (snapshot.logo, snapshot.issuer.logo) if one}
    if not digests:
        return {}
    found = session.execute(READ_LOGOS, {"digests": sorted(digests)})
    return {row.sha256: bytes(row.content) for row in found}


def next_chunk(session: Session, course: DuplicateRun) -> Chunk[DuplicateRun]:
    """Records what was made ahead; the outcome comes with the file, or at once when there is nothing to be rendered.

    Raises: what went wrong ahead of it, so that the job is tried again or ends as any job does.
    """
    row, work = course.row, course.work
    if work.trouble is not None:
        raise work.trouble
    for made in work.made:
        record_made(session, made)
        if made.sha256 is None:
            session.execute(
                MARK_NOT_RENDERED, {"job": row.id, "position": made.copy.position, "code": Code.NOT_RENDERED}
            )
    made_now = tuple(one.copy._replace(sha256=one.sha256, size=one.size) for one in work.made if one.sha256 is not None)
    further = replace(course, todo=course.todo[len(work.made) :], done=course.done + made_now, work=PreparedWork())
    if further.todo or (further.done and work.assembled is None):
        return Chunk(further, len(further.done))
    return Chunk(further, len(further.done), _end(session, further, work.assembled))


def record_made(session: Session, made: RenderedCopy) -> None:
    """Remembers bytes by their hash: an uploaded file is compared with them."""
    if made.sha256 is None:
        return
    copy = made.copy
    session.execute(
        INSERT_RENDERING,
        {
            "id": new_id(),
            "certificate": copy.certificate_id,
            "duplicate": copy.duplicate_id,
            "document": copy.document,
            "locale": copy.locale,
            "sha256": made.sha256,
            "size": made.size,
            "sealed": made.sealed,
        },
    )


def _end(session: Session, course: DuplicateRun, assembled: AssembledFile | None) -> WorkOutcome:
    row = course.row
    counts = count_codes(session, row.id)
    result: dict[str, Any] = {"counts": counts}
    if assembled is None:
        return WorkOutcome(row.id, row.claim, JobState.REFUSED, result)
    file_id = new_id()
    # Not its name, which is the person's: a result is kept for years, and by whom nobody looks in an erasure.
    file = {"kind": assembled.kind, "sha256": assembled.sha256, "size": assembled.size}
    session.execute(
        INSERT_FILE,
        file
        | {
            "name": assembled.name,
            "id": file_id,
            "job": row.id,
            "portal": row.columns["portal_id"],
            "key_id": signing_keys().newest,
            "days": timedelta(days=FILE_DAYS),
        },
    )
    result |= {"file": {"id": str(file_id), **file}} | _owe_mail(session, course, file_id)
    return WorkOutcome(row.id, row.claim, JobState.SUCCEEDED, result)


def _owe_mail(session: Session, course: DuplicateRun, file_id: UUID) -> dict[str, Any]:
    """Owes the mail somebody asked for: it is the learner's own, and ends with their account, or a manager's.

    Returns: `mail`, why none is owed and since when, where nobody is written to any more (`suppressed_address`).
    """
    row, request = course.row, course.request
    managers = request.deliver_to if isinstance(request, DuplicateCertificates) else None
    own = isinstance(request, DuplicateOwnCertificate) and request.deliver
    if managers is None and not own:
        return {}
    wait_briefly_for_locks(session)
    whose = session.execute(READ_RECIPIENT, {"job": row.id}).one()
    if own and whose.erased:
        return {}
    address = managers or whose.email_norm
    if since := read_suppressed(session, [address]).get(address):
        return {"mail": {"code": Code.SUPPRESSED_ADDRESS, "since": since.isoformat()}}
    mail = OwedMail(
        EmailKind.DUPLICATE,
        str(row.id),
        whose.company_id,
        address,
        request.locale,
        job_id=row.id,
        contract_id=whose.contract_id,
        account_id=whose.account_id if own else None,
        enrollment_id=whose.enrollment_id if own else None,
        context={"file_id": str(file_id)},
    )
    owe(session, [mail])
    return {}
