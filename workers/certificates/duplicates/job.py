"""Does a job of duplicates chunk by chunk, until one file with all documents is recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from models.base import new_id
from models.certificate import FILE_DAYS, CertificateFile
from models.job import JobPerson
from models.words import Code, EmailKind, JobState
from workers.certificates.duplicates.copies import (
    DuplicateCopy,
    RenderedCopy,
    read_logos,
    read_registered,
    record_rendering,
)
from workers.certificates.duplicates.register import DuplicateRequest, read_duplicate_request, register
from workers.database import Session, wait_briefly_for_locks
from workers.engine.chunks import Chunk
from workers.engine.ledger import ClaimedRow, WorkOutcome
from workers.engine.results import count_codes
from workers.outbox.mails import OwedMail, owe
from workers.outbox.suppression import read_suppressed
from workers.requests.certificates import DuplicateCertificates, DuplicateOwnCertificate
from workers.security.keys import signing_keys
from workers.sql import fetch

# Locks the account of the first person with a duplicate, and reads the recipient of a mail. An erasure or a correction
# of the address locks the whole account: either it waits and then finds the mail, or this waits and reads the account
# as it is afterwards.
LOCK_RECIPIENT = text(f"""
    SELECT c.id AS contract_id, c.company_id, e.id AS enrollment_id, a.id AS account_id, a.email_norm,
      a.erased_at IS NOT NULL AS erased
    FROM job_person p JOIN enrollment e ON e.id = p.enrollment_id JOIN contract c ON c.id = e.contract_id
    JOIN account a ON a.id = e.account_id WHERE p.job_id = :job AND p.code = '{Code.DUPLICATED}'
    ORDER BY p.position LIMIT 1 FOR KEY SHARE OF a""")


class AssembledFile(NamedTuple):
    """The file that holds the documents of the whole job."""

    name: str
    kind: str  # pdf, zip
    sha256: str
    size: int


class PreparedChunk(NamedTuple):
    """The documents made ahead of the transaction of a chunk, and the file, when they were the last."""

    made: tuple[RenderedCopy, ...] = ()
    file: AssembledFile | None = None


NOTHING_PREPARED: Final = PreparedChunk()


@dataclass(frozen=True, slots=True)
class DuplicateRun:
    """A job of duplicates in progress.

    Parameters:
      todo: the duplicates still to be rendered, in order.
      done: those rendered and recorded.
      logos: the pictures on them, by hash.
      prepared: the documents made ahead of the next chunk.
    """

    row: ClaimedRow
    request: DuplicateRequest
    todo: tuple[DuplicateCopy, ...]
    done: tuple[DuplicateCopy, ...]
    logos: Mapping[str, bytes]
    prepared: PreparedChunk = NOTHING_PREPARED


class _Recipient(NamedTuple):
    contract_id: UUID
    company_id: UUID
    enrollment_id: UUID
    account_id: UUID
    email_norm: str
    erased: bool


def begin(session: Session, row: ClaimedRow) -> DuplicateRun:
    """Registers the duplicates the first time; later takes the job up after its last committed chunk."""
    request = read_duplicate_request(row)
    register(session, row, request)
    copies = read_registered(session, row.id)
    done = tuple(copy for copy in copies if copy.sha256 is not None)
    todo = tuple(copy for copy in copies if copy.sha256 is None)
    return DuplicateRun(row, request, todo, done, read_logos(session, [copy.printed.snapshot for copy in todo]))


def record_chunk(session: Session, run: DuplicateRun) -> Chunk[DuplicateRun]:
    """Records the documents made ahead; the outcome comes with the file, or at once when there is nothing to render."""
    made, file = run.prepared
    for one in made:
        record_rendering(session, one)
    _mark_not_rendered(session, run.row.id, [one.copy.position for one in made if one.sha256 is None])
    done = (*run.done, *(one.recorded for one in made if one.sha256 is not None))
    further = replace(run, todo=run.todo[len(made) :], done=done, prepared=NOTHING_PREPARED)
    if further.todo or (further.done and file is None):
        return Chunk(further, len(further.done))
    return Chunk(further, len(further.done), _end(session, further, file))


def _mark_not_rendered(session: Session, job_id: UUID, positions: list[int]) -> None:
    if positions:
        which = (col(JobPerson.job_id) == job_id, col(JobPerson.position).in_(positions))
        session.execute(update(JobPerson).where(*which).values(code=Code.NOT_RENDERED))


def _end(session: Session, run: DuplicateRun, file: AssembledFile | None) -> WorkOutcome:
    row = run.row
    result: dict[str, Any] = {"counts": count_codes(session, row.id)}
    if file is None:
        return WorkOutcome(row.id, row.claim, JobState.REFUSED, result)
    file_id = _insert_file(session, row, file)
    # The name of the file is left out, because it has the person's name: results are kept for years, and an erasure
    # does not read them.
    result["file"] = {"id": str(file_id), "kind": file.kind, "sha256": file.sha256, "size": file.size}
    return WorkOutcome(row.id, row.claim, JobState.SUCCEEDED, result | _owe_mail(session, run, file_id))


def _insert_file(session: Session, row: ClaimedRow, file: AssembledFile) -> UUID:
    file_id = new_id()
    columns = {
        "id": file_id,
        "job_id": row.id,
        "portal_id": row.columns.portal_id,
        **file._asdict(),
        "key_id": signing_keys().newest,
        "expires_at": func.now() + timedelta(days=FILE_DAYS),
    }
    session.execute(insert(CertificateFile).values(columns).on_conflict_do_nothing(index_elements=["job_id"]))
    return file_id


def _owe_mail(session: Session, run: DuplicateRun, file_id: UUID) -> dict[str, Any]:
    """Owes the mail that was asked for: to the learner, and then it ends with their account, or to a manager.

    Returns: `mail` with the reason and the date, when the address is suppressed and none is owed; else nothing.
    """
    row, request = run.row, run.request
    managers = request.deliver_to if isinstance(request, DuplicateCertificates) else None
    own = isinstance(request, DuplicateOwnCertificate) and request.deliver
    if managers is None and not own:
        return {}
    wait_briefly_for_locks(session)
    [learner] = fetch(session, _Recipient, LOCK_RECIPIENT, {"job": row.id})
    if own and learner.erased:
        return {}
    address = managers or learner.email_norm
    if since := read_suppressed(session, [address]).get(address):
        return {"mail": {"code": Code.SUPPRESSED_ADDRESS, "since": since.isoformat()}}
    mail = OwedMail(
        EmailKind.DUPLICATE,
        str(row.id),
        learner.company_id,
        address,
        request.locale,
        job_id=row.id,
        contract_id=learner.contract_id,
        account_id=learner.account_id if own else None,
        enrollment_id=learner.enrollment_id if own else None,
        context={"file_id": str(file_id)},
    )
    owe(session, [mail])
    return {}
