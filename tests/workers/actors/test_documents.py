"""Documents and the place they lie in: what was lost or damaged there is made again, what cannot be reached waits."""

import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from s3fs import S3FileSystem

from tests.buckets import BUCKET, bucket
from tests.certificates import ask, certified, content, duplicated, index, job, said, unzipped
from tests.committed import claimed
from tests.contracts import someone
from tests.support import rows
from workers.actors import certificates, documents
from workers.actors.documents import Maker
from workers.actors.files import read_file
from workers.certificates.renderer import render
from workers.queues import Queue
from workers.settings import get_settings

__all__ = ["bucket"]

pytestmark = pytest.mark.usefixtures("fresh_database")


def lies(digest: object, suffix: str = ".pdf") -> Path:
    """Where a document lies in the store of this test."""
    return Path(os.environ["CERTIFICATE_STORE"]) / str(digest)[:2] / f"{digest}{suffix}"


def flip(path: Path) -> None:
    """One byte of the middle of a file, and neither its length nor its name."""
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


def test_a_damaged_zip_is_never_given_and_is_filled_anew() -> None:
    done = duplicated(*certified(*"ab"))
    first, place = content(done), lies(done["result"]["file"]["sha256"], ".zip")
    flip(place)
    assert content(done) == first
    assert place.read_bytes() == first


def test_a_document_damaged_on_its_way_into_a_zip_is_mended_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    people = certified(someone("a", "Zoé", "Le Dû"), someone("b", "Anne", "Roy"))
    real = Maker.zip

    def after_damage(self: Maker, *more: Any, **options: Any) -> None:
        for path in (placed := list(Path(os.environ["CERTIFICATE_STORE"]).rglob("*.pdf"))):
            flip(path)
        assert len(placed) == 2
        real(self, *more, **options)

    monkeypatch.setattr(Maker, "zip", after_damage)
    files = unzipped(duplicated(*people))
    for line in index(files):
        assert f"{line[1]} {line[2]}" in said(files[line[6]])


def test_a_zip_whose_documents_are_made_otherwise_is_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    done = duplicated(*certified(*"ab"))
    before = str(done["result"]["file"]["sha256"])
    for path in Path(os.environ["CERTIFICATE_STORE"]).rglob("*.*"):
        path.unlink()
    monkeypatch.setattr(documents, "render", lambda *a, **o: render(*a, **o) + b"\n")
    again = read_file(file_of(done))
    [(after, size)] = rows("SELECT sha256, size FROM certificate_file")
    assert again is not None
    assert (after != before, size) == (True, len(again))
    assert rows("SELECT count(*) FROM rendering") == [(4,)]  # what was delivered is ours still
    monkeypatch.undo()


def test_a_bucket_keeps_documents_as_a_folder_does(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CERTIFICATE_STORE", f"s3://{BUCKET}/documents")
    get_settings.cache_clear()
    done = duplicated(*certified(someone("a", "Zoé", "Le Dû"), someone("b", "Anne", "Roy")))
    files = unzipped(done)
    for line in index(files):
        assert f"{line[1]} {line[2]}" in said(files[line[6]])
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
        assert (waiting["state"], waiting["failures"], len(waiting["attempts"])) == ("queued", 0, attempt)
        assert {one["outcome"] for one in waiting["attempts"]} == {"postponed"}
    root.unlink()
    certificates.do_batch(claimed(Queue.CERTIFICATES))
    assert job(job_id)["result"]["counts"] == {"duplicated": 2}
    assert rows("SELECT ordinal FROM certificate_duplicate") == [(1,), (1,)]
    assert len(unzipped(job(job_id))) == 3
