"""The tests of certificates use these: a training organisation, people who completed a training, certificate jobs."""

import csv
import io
import zipfile
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from models.base import new_id
from models.document import TrainingModality
from models.words import Progress
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders import contracts
from tests.kit.builders.contracts import (
    QUEUES,
    add_contract,
    enrolled,
    query,
)
from workers.actors import certificates
from workers.certificates.duplicates.fetching import read_file
from workers.database import Session, transaction
from workers.reading.jobs import show_job
from workers.requests.base import Request
from workers.requests.catalog import PutTraining
from workers.requests.certificates import DuplicateCertificates, PutOrganisation
from workers.requests.enrollment import ProgressEvent, RecordProgress
from workers.requests.queues import FEW_DUPLICATES, Queue

SIRET = "73282932000074"

CURRENT = """
    SELECT k.id, k.number, k.code, k.snapshot, k.version FROM certificate k
    WHERE k.enrollment_id = :enrollment AND k.replaced_by IS NULL"""


def did(session: Session, *requests: Request) -> list[dict[str, Any]]:
    """Does requests as jobs, and the certificate work that follows, in this session; returns the jobs as portals see
    them.
    """
    return contracts.did(session, *requests, queues=(*QUEUES, Queue.CERTIFICATES))


def organisation(reference: str = "of-1", **more: Any) -> PutOrganisation:
    """Returns a request for a training organisation that signs the certificates of the portal `local`."""
    facts: dict[str, Any] = {
        "legal_name": "Formation Pro SAS",
        "address": ["12 rue des Écoles", "75005 Paris"],
        "siret": SIRET,
        "activity_number": "11755555575",
        "activity_region": "Île-de-France",
        "signatory_name": "Claire Martin",
        "signatory_quality": "Directrice de la formation",
        "place": "Paris",
        "portals": ["local"],
    }
    return PutOrganisation(reference=reference, **(facts | more))


def training() -> PutTraining:
    """Returns a request for the training of the contracts, with every fact that a certificate can print."""
    return PutTraining(
        reference="T-1",
        title="Sécurité incendie",
        objectives=["Reconnaître un risque", "Donner l’alerte"],
        modality=TrainingModality.REMOTE,
        planned_minutes=420,
    )


def completed(enrollment: UUID, day: int = 9, **more: Any) -> ProgressEvent:
    """Returns the event of the LMS that a person completed the training on this day of March 2026."""
    at = datetime(2026, 3, day, 12, 0, tzinfo=UTC)
    return ProgressEvent(enrollment_id=enrollment, progress=Progress.COMPLETED, occurred_at=at, **more)


def complete(session: Session, *enrollments: UUID, **more: Any) -> list[dict[str, Any]]:
    """Records that these people completed the training, and does the work that follows."""
    began = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
    begun = [
        ProgressEvent(enrollment_id=one, progress=Progress.IN_PROGRESS, occurred_at=began, time_spent_seconds=60)
        for one in enrollments
    ]
    return did(session, RecordProgress(events=[*begun, *(completed(one, **more) for one in enrollments)]))


def graduates(session: Session, *people: Any, contract: str = "C-1") -> list[UUID]:
    """Enrolls people who complete the training; each has a certificate."""
    add_contract(session, contract, max(50, len(people)))
    did(session, organisation(), training())
    enrollments = enrolled(session, *people, contract=contract)
    complete(session, *enrollments, score=87.5, time_spent_seconds=24_000)
    assert all(query(session, CURRENT, enrollment=one) for one in enrollments)
    return enrollments


def certificate(session: Session, enrollment: UUID) -> tuple[Any, ...]:
    """Returns identifier, number, code, snapshot and version of the certificate in force."""
    [found] = query(session, CURRENT, enrollment=enrollment)
    return found


def certified(*people: Any) -> list[UUID]:
    """Commits what `graduates` creates."""
    with transaction() as session:
        return graduates(session, *people)


def ask(*enrollments: UUID, key: str = "", **more: Any) -> UUID:
    """Accepts a request for duplicates in its own transaction; returns the job."""
    request = DuplicateCertificates(contract="C-1", enrollment_ids=list(enrollments), **more)
    with transaction() as session:
        return contracts.accepted(session, request, key or f"key-{new_id()}")


def duplicated(*enrollments: UUID, **more: Any) -> dict[str, Any]:
    """Has the actor make duplicates; returns the job as its portal sees it."""
    job_id = ask(*enrollments, **more)
    few = len(enrollments) <= FEW_DUPLICATES
    certificates.do_batch(claimed(Queue.CERTIFICATES if few else Queue.CERTIFICATES_BULK))
    return job(job_id)


def job(job_id: UUID) -> dict[str, Any]:
    """Returns a job as its portal sees it."""
    with transaction() as session:
        return show_job(session, job_id) or {}


def content(done: dict[str, Any]) -> bytes:
    """Returns the bytes of the file that a job made, after a check of their size."""
    found = read_file(UUID(done["result"]["file"]["id"]))
    assert found is not None
    assert len(found) == done["result"]["file"]["size"]
    return found


def unzipped(done: dict[str, Any]) -> dict[str, bytes]:
    """Returns the files of the zip that a job made, by name; the test fails if two names are equal but for case."""
    with zipfile.ZipFile(io.BytesIO(content(done))) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len({name.casefold() for name in names}) == len(names)
        return {name: archive.read(name) for name in names}


def index(files: dict[str, bytes]) -> list[list[str]]:
    """Returns the lines of the CSV index in a zip, without its header."""
    return list(csv.reader(io.StringIO(files["index.csv"].decode("utf-8-sig")), delimiter=";"))[1:]
