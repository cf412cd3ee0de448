"""The document store, in a folder of this host and in an S3 bucket of moto. A damaged document is never returned."""

import hashlib
import io
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import boto3
import pytest
from s3fs import S3FileSystem

from tests.kit.processes.buckets import BUCKET, bucket
from workers.documents import store as store_of_documents
from workers.documents.store import (
    LONGEST_SECONDS,
    PATIENCE,
    PIECE,
    TRIES,
    DocumentStore,
)
from workers.errors import NotConfigured, Transient
from workers.settings import Settings

__all__ = ["bucket"]

CONTENT = b"%PDF-1.7 document\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Place:
    """A store, with direct access to its files."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = DocumentStore(url)

    def keys(self) -> list[str]:
        """Lists all files there relative to the store, also unfinished ones."""
        raise NotImplementedError

    def write(self, key: str, content: bytes) -> None:
        """Writes bytes there without the store."""
        raise NotImplementedError


class LocalPlace(Place):
    def keys(self) -> list[str]:
        root = Path(self.url)
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    def write(self, key: str, content: bytes) -> None:
        (Path(self.url) / key).write_bytes(content)


class S3Place(Place):
    def keys(self) -> list[str]:
        found = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="documents/").get("Contents", [])
        return sorted(one["Key"].removeprefix("documents/") for one in found)

    def write(self, key: str, content: bytes) -> None:
        boto3.client("s3").put_object(Bucket=BUCKET, Key=f"documents/{key}", Body=content)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "folder":
        yield LocalPlace(str(tmp_path / "documents"))
    else:
        request.getfixturevalue("bucket")
        yield S3Place(f"s3://{BUCKET}/documents")


def key(digest: str = DIGEST, suffix: str = ".pdf") -> str:
    return f"{digest[:2]}/{digest}{suffix}"


def copied(store: DocumentStore, digest: str = DIGEST, suffix: str = ".pdf") -> bytes | None:
    into = io.BytesIO()
    return into.getvalue() if store.copy(digest, suffix, into) else None


def test_a_document_stored_twice_is_there_once(place: Place) -> None:
    assert place.store.put(CONTENT) == place.store.put(CONTENT) == DIGEST
    assert place.store.get(DIGEST) == copied(place.store) == CONTENT
    assert place.keys() == [key()]


def test_a_large_file_passes_in_pieces(place: Place, tmp_path: Path) -> None:
    content = os.urandom(3 * PIECE + 17)
    file = tmp_path / "file"
    file.write_bytes(content)
    digest = place.store.put_file(file, ".zip")
    assert digest == hashlib.sha256(content).hexdigest()
    assert copied(place.store, digest, ".zip") == content
    assert place.store.get(digest) is None  # the same bytes with another suffix are another file


def test_a_missing_document_is_none_and_may_be_deleted(place: Place) -> None:
    assert place.store.get(DIGEST) is None
    assert copied(place.store) is None
    place.store.delete(DIGEST)
    place.store.put(CONTENT)
    place.store.delete(DIGEST)
    place.store.delete(DIGEST)
    assert (place.store.get(DIGEST), place.keys()) == (None, [])


@pytest.mark.parametrize(
    "damage", [b"", CONTENT[:-1], CONTENT + b"x", bytes([CONTENT[0] ^ 1]) + CONTENT[1:]],
    ids=["emptied", "cut", "longer", "one bit"],
)  # fmt: skip
def test_damaged_bytes_are_as_good_as_lost_and_mended_when_put_again(place: Place, damage: bytes) -> None:
    place.store.put(CONTENT)
    place.write(key(), damage)
    assert place.store.get(DIGEST) is None
    assert copied(place.store) is None
    place.store.put(CONTENT)
    assert place.store.get(DIGEST) == CONTENT


def test_many_who_write_the_same_leave_it_whole_at_every_moment(place: Place) -> None:
    content = os.urandom(PIECE // 2)
    digest = place.store.put(content)
    writing = threading.Event()

    def write(_: int) -> str:
        while True:
            with suppress(Transient):  # moto loses files when many write
                return DocumentStore(place.url).put(content)

    def look() -> list[bytes | None]:
        seen = [place.store.get(digest)]
        while writing.is_set():
            with suppress(Transient):
                seen.append(place.store.get(digest))
        return seen

    writing.set()
    with ThreadPoolExecutor(5) as threads:
        looker = threads.submit(look)
        try:
            written = set(threads.map(write, range(16)))
        finally:
            writing.clear()
    assert written == {digest}
    assert set(looker.result()) == {content}
    assert place.keys() == [key(digest)]


@pytest.mark.parametrize(
    ("digest", "suffix"),
    [
        *(("../" * 20 + "etc/passwd", ".pdf"), ("", ".pdf"), (DIGEST.upper(), ".pdf"), (DIGEST + "\n", ".pdf")),
        *((DIGEST + "/x", ".pdf"), ("\uff10" * 64, ".pdf"), ("*" * 64, ".pdf")),
        *((DIGEST, "/../x"), (DIGEST, ""), (DIGEST, ".pdf\n"), (DIGEST, ".p/f"), (DIGEST, "?versionId=1")),
    ],
)
def test_nothing_but_a_hash_names_a_place(place: Place, digest: str, suffix: str) -> None:
    steps: list[Callable[[], object]] = [
        lambda: place.store.get(digest, suffix),
        lambda: place.store.copy(digest, suffix, io.BytesIO()),
        lambda: place.store.delete(digest, suffix),
    ]
    for step in steps:
        with pytest.raises(ValueError, match="not a hash"):
            step()


def test_no_other_user_may_read_the_folder(tmp_path: Path) -> None:
    DocumentStore(str(tmp_path / "documents")).put(CONTENT)
    [written] = tmp_path.rglob("*.pdf")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700


def test_a_write_that_breaks_off_leaves_nothing_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DocumentStore(str(tmp_path / "documents"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(Transient):
            store.put(CONTENT)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    store.put(CONTENT)
    assert store.get(DIGEST) == CONTENT


# Stores that do not answer


def steps_of(store: DocumentStore) -> list[Callable[[], object]]:
    return [
        lambda: store.put(CONTENT),
        lambda: store.get(DIGEST),
        lambda: store.copy(DIGEST, ".pdf", io.BytesIO()),
        lambda: store.delete(DIGEST),
    ]


def test_a_folder_that_cannot_be_used_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "documents").write_bytes(b"a file stands where the folder should be")
    for step in steps_of(DocumentStore(str(tmp_path / "documents"))):
        with pytest.raises(Transient):
            step()


def test_a_bucket_that_does_not_answer_is_waited_for(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for step in steps_of(DocumentStore(f"s3://{BUCKET}/documents")):
        with pytest.raises(Transient) as away:
            step()
        assert away.value.seconds > 1
    S3FileSystem.clear_instance_cache()


def test_a_bucket_that_never_answers_is_left_before_a_lease_ends(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        TRIES * sum(PATIENCE.values()) < Settings.model_fields["lease_seconds"].default - 5
    )  # and botocore waits a second or two in between
    assert Settings.model_fields["lease_seconds"].default - 5 > LONGEST_SECONDS
    monkeypatch.setattr(store_of_documents, "PATIENCE", {"connect_timeout": 0.2, "read_timeout": 0.2})
    monkeypatch.setattr(store_of_documents, "LONGEST_SECONDS", 1.0)
    S3FileSystem.clear_instance_cache()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        for step in steps_of(DocumentStore(f"s3://{BUCKET}/documents")):
            begun = time.monotonic()
            with pytest.raises(Transient):
                step()
            assert time.monotonic() - begun < 5
    S3FileSystem.clear_instance_cache()


def test_a_missing_bucket_is_waited_for_and_no_write_is_reported(bucket: str) -> None:
    store = DocumentStore("s3://matricule-absent/documents")
    with pytest.raises(Transient):
        store.put(CONTENT)
    assert store.get(DIGEST) is None


@pytest.mark.parametrize("url", ["", "s3://key:secret@bucket/x", "sftp://u:p@host/x", "nothing-we-know://x"])
def test_an_address_that_cannot_be_used_says_so(url: str) -> None:
    with pytest.raises(NotConfigured, match="CERTIFICATE_STORE") as refused:
        DocumentStore(url)
    assert "secret" not in str(refused.value)
