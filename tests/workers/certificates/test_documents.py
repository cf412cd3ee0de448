"""Documents in the store: a lost or damaged one is made again; an unreachable store makes the job wait."""

import base64
import io
import os
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from s3fs import S3FileSystem

from models.document import Document
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.certificates import (
    ask,
    certified,
    complete,
    completed,
    content,
    did,
    duplicated,
    index,
    job,
    organisation,
    training,
    unzipped,
)
from tests.kit.builders.contracts import add_contract, enrolled, someone
from tests.kit.builders.documents import text_of
from tests.kit.processes.buckets import BUCKET, bucket
from tests.kit.processes.support import change, rows
from workers.actors import certificates
from workers.certificates.duplicates import making
from workers.certificates.duplicates.fetching import read_file
from workers.certificates.duplicates.making import DocumentMaker
from workers.database import transaction
from workers.documents.renderer import render
from workers.requests.catalog import PutCompany, PutTraining
from workers.requests.enrollment import RecordProgress
from workers.requests.queues import Queue
from workers.settings import get_settings

__all__ = ["bucket"]

pytestmark = pytest.mark.usefixtures("fresh_database")


def lies(digest: object, suffix: str = ".pdf") -> Path:
    """Returns the path of a document in the store of this test."""
    return Path(os.environ["CERTIFICATE_STORE"]) / str(digest)[:2] / f"{digest}{suffix}"


def flip(path: Path) -> None:
    """Changes one byte in the middle of a file, but neither its length nor its name."""
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)


def file_of(done: dict[str, Any]) -> UUID:
    return UUID(done["result"]["file"]["id"])


def test_a_damaged_document_is_never_given_and_is_mended() -> None:
    [zoe] = certified("zoe")
    done = duplicated(zoe)
    first, place = content(done), lies(done["result"]["file"]["sha256"])
    flip(place)
    assert content(done) == first
    assert place.read_bytes() == first
    assert rows("SELECT count(*) FROM rendering") == [(1,)]


def test_a_damaged_zip_is_never_delivered_and_is_made_again() -> None:
    done = duplicated(*certified(*"ab"))
    first, place = content(done), lies(done["result"]["file"]["sha256"], ".zip")
    flip(place)
    assert content(done) == first
    assert place.read_bytes() == first


def test_a_document_damaged_on_its_way_into_a_zip_is_mended_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    people = certified(someone("a", "Zoé", "Le Dû"), someone("b", "Anne", "Roy"))
    real = DocumentMaker.zip

    def after_damage(self: DocumentMaker, *more: Any, **options: Any) -> None:
        for path in (placed := list(Path(os.environ["CERTIFICATE_STORE"]).rglob("*.pdf"))):
            flip(path)
        assert len(placed) == 2
        real(self, *more, **options)

    monkeypatch.setattr(DocumentMaker, "zip", after_damage)
    files = unzipped(duplicated(*people))
    for line in index(files):
        assert f"{line[1]} {line[2]}" in text_of(files[line[6]])


def test_a_zip_whose_documents_are_made_otherwise_is_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    done = duplicated(*certified(*"ab"))
    before = str(done["result"]["file"]["sha256"])
    for path in Path(os.environ["CERTIFICATE_STORE"]).rglob("*.*"):
        path.unlink()
    monkeypatch.setattr(making, "render", lambda *a, **o: render(*a, **o) + b"\n")
    again = read_file(file_of(done))
    [(after, size)] = rows("SELECT sha256, size FROM certificate_file")
    assert again is not None
    assert (after != before, size) == (True, len(again))
    assert rows("SELECT count(*) FROM rendering") == [(4,)]  # our record of the delivered files stays
    monkeypatch.undo()


def test_a_bucket_keeps_documents_as_a_folder_does(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTIFICATE_STORE", f"s3://{BUCKET}/documents")
    get_settings.cache_clear()
    done = duplicated(*certified(someone("a", "Zoé", "Le Dû"), someone("b", "Anne", "Roy")))
    files = unzipped(done)
    for line in index(files):
        assert f"{line[1]} {line[2]}" in text_of(files[line[6]])
    first = content(done)
    S3FileSystem().rm(f"{BUCKET}/documents", recursive=True)
    assert content(done) == first
    assert rows("SELECT count(*) FROM rendering") == [(2,)]


def test_a_place_that_cannot_be_used_is_waited_for_and_nothing_is_lost() -> None:
    people = certified(*"ab")
    root = Path(os.environ["CERTIFICATE_STORE"])
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_bytes(b"no folder")
    job_id = ask(*people)
    for attempt in (1, 2):
        certificates.do_batch(claimed(Queue.CERTIFICATES))
        waiting = job(job_id)
        assert (waiting["state"], waiting["failures"]) == ("queued", 0)
        assert [(one["outcome"], one["times"]) for one in waiting["attempts"]] == [("postponed", attempt)]
    root.unlink()
    certificates.do_batch(claimed(Queue.CERTIFICATES))
    assert job(job_id)["result"]["counts"] == {"duplicated": 2}
    assert rows("SELECT ordinal FROM certificate_duplicate") == [(1,), (1,)]
    assert len(unzipped(job(job_id))) == 3


def logo(colour: str) -> str:
    written = io.BytesIO()
    Image.new("RGB", (90, 30), colour).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


@pytest.mark.parametrize("document", Document)
def test_nothing_that_is_renamed_changes_a_document(document: Document) -> None:
    with transaction() as session:
        did(session, organisation(logo=logo("#111111"), colour="#333333"))
        add_contract(session)
        did(session, PutCompany(reference="acme", name="Acmé", logo=logo("#222222"), colour="#1b3a5f"), training())
        people = enrolled(session, someone("a", "Zoé", "Le Dû"), someone("b", "Anne", "Roy"))
        complete(session, *people)
    single, zipped = duplicated(people[0], document=document), duplicated(*people, document=document)
    before = content(single), content(zipped)
    with transaction() as session:
        did(
            session,
            organisation(
                legal_name="Nouveau SAS", signatory_name="Autre", place="Lyon", logo=logo("#444444"), siret=None
            ),
            PutCompany(reference="acme", name="Nouvelle Acmé", logo=None, colour="#000000"),
            PutTraining(reference="T-1", title="Autre titre", objectives=[]),
            RecordProgress(events=[completed(one, day=12, score=1.0, time_spent_seconds=99_000) for one in people]),
        )
    change("UPDATE account SET first_name = 'Autre', last_name = 'Personne', email_norm = id || '@example.com'")
    shutil.rmtree(os.environ["CERTIFICATE_STORE"])
    assert (content(single), content(zipped)) == before
    assert rows("SELECT count(*), count(DISTINCT sha256) FROM rendering") == [(3, 3)]
    later = text_of(content(duplicated(people[0], document=document)))
    for kept in ("Zoé Le Dû", "Acmé", "Sécurité incendie", "Formation Pro SAS", "Claire Martin", "Fait à Paris"):
        assert kept in later
    for new in ("Autre", "Personne", "Nouve", "Lyon", "12 mars"):
        assert new not in later
