"""Keeps documents by the hash of their bytes, in any place fsspec can reach: a folder of this host, S3, SFTP.

Bytes are compared with their hash when they are read. Bytes that were changed or cut count as lost, and are made again.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, TypeVar, cast
from urllib.parse import urlsplit
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from workers.errors import NotConfigured, Transient
from workers.logs import get_logger
from workers.settings import Settings

log = get_logger()

PIECE: Final = 1 << 20
AWAY_SECONDS: Final = 15.0
"""Seconds for which work is postponed when the store does not answer."""

PATIENCE: Final = {"connect_timeout": 2.0, "read_timeout": 5.0}
TRIES: Final = 3
"""Timeouts in seconds and attempts of one call to S3. It must end before a lease does; by default it takes minutes."""

LONGEST_SECONDS: Final = 20.0
"""Seconds that one call may take in all; sending takes longer by the size of what is sent."""

SLOWEST: Final = 1_000_000
"""Bytes per second that even a slow store accepts."""

CLIENTS: Final = frozenset({"aiobotocore", "aiohttp", "botocore", "paramiko"})
"""Client libraries of fsspec that report network errors by exceptions other than OSError."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SUFFIX: Final = re.compile(r"\.[a-z]{1,5}")

Answer = TypeVar("Answer")


class DocumentStore:
    """The store of one address.

    Parameters:
      url: as fsspec reads it, without a password: credentials belong in the environment or fsspec's configuration.

    Raises:
      NotConfigured: the address holds a password, or fsspec cannot read such an address.
    """

    def __init__(self, url: str) -> None:
        if not url:
            raise NotConfigured("CERTIFICATE_STORE is empty: give it a folder, or any address fsspec reads")
        if urlsplit(url).password:
            raise NotConfigured("CERTIFICATE_STORE must hold no password: put it into fsspec's configuration")
        try:
            self._fs, path = fsspec.core.url_to_fs(url, **_patience(url))
        except (ValueError, ImportError) as error:
            raise NotConfigured(f"CERTIFICATE_STORE cannot be used: {error}") from None
        if hasattr(self._fs, "retries"):  # s3fs repeats five times what botocore has repeated five times
            self._fs.retries = 1
        # While it sends, aiohttp would wait for ever for a server that accepts a connection and does not answer.
        self._limit = {"timeout": LONGEST_SECONDS} if self._fs.async_impl else {}
        self._path = str(path).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(settings.certificate_store)

    @property
    def folder(self) -> Path | None:
        """The folder of this host in which the documents lie; None when they lie elsewhere."""
        return Path(self._path) if self._local else None

    def put(self, content: bytes, suffix: str = ".pdf") -> str:
        """Keeps these bytes and returns their SHA-256. Doing it again changes nothing.

        Raises: Transient when the store cannot be written at the moment.
        """
        digest = hashlib.sha256(content).hexdigest()
        self._keep(digest, suffix, iter([content]))
        return digest

    def put_file(self, path: Path, suffix: str) -> str:
        """Keeps the bytes of a file and returns their SHA-256; in a folder, the file is never whole in memory."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            self._keep(digest, suffix, iter(lambda: file.read(PIECE), b""))
        return digest

    def get(self, digest: str, suffix: str = ".pdf") -> bytes | None:
        """Returns the bytes with this hash; None when they are not there or were changed.

        Raises: Transient when the store cannot be read at the moment.
        """
        try:
            content = cast("bytes", self._try(lambda: self._fs.cat_file(self._at(digest, suffix), **self._limit)))
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).hexdigest() == digest:
            return content
        log.error("store.damaged", sha256=digest)
        return None

    def copy(self, digest: str, suffix: str, into: BinaryIO) -> bool:
        """Copies the bytes with this hash into a file, never whole in memory; False when they are missing or changed.

        The copy may be used only when the answer is True.

        Raises: Transient when the store cannot be read at the moment.
        """
        try:
            found = self._try(lambda: self._read(self._at(digest, suffix), into))
        except FileNotFoundError:
            return False
        if found != digest:
            log.error("store.damaged", sha256=digest)
        return found == digest

    def delete(self, digest: str, suffix: str = ".pdf") -> None:
        """Deletes the bytes with this hash; bytes that are not there are no error. Raises: Transient."""
        try:
            self._try(lambda: self._fs.rm_file(self._at(digest, suffix), **self._limit))
        except FileNotFoundError:
            return

    def _at(self, digest: str, suffix: str) -> str:
        if not _DIGEST.fullmatch(digest) or not _SUFFIX.fullmatch(suffix):
            raise ValueError("not a hash and a suffix")
        return f"{self._path}/{digest[:2]}/{digest}{suffix}"

    def _read(self, source: str, into: BinaryIO) -> str:
        """Copies a file and returns the hash of its bytes."""
        read = hashlib.sha256()
        with self._fs.open(source, "rb") as file:
            while piece := file.read(PIECE):
                read.update(piece)
                into.write(piece)
        return read.hexdigest()

    def _keep(self, digest: str, suffix: str, content: Iterator[bytes]) -> None:
        try:
            self._try(lambda: self._write(digest, suffix, content))
        except FileNotFoundError as error:  # while writing: the bucket does not exist, or a folder was removed
            raise Transient("the store of documents: its place is missing", seconds=AWAY_SECONDS) from error

    def _write(self, digest: str, suffix: str, content: Iterator[bytes]) -> None:
        target = self._at(digest, suffix)
        if not self._local:  # one upload becomes visible whole, or not at all
            whole = b"".join(content)
            self._fs.pipe_file(
                target, whole, **{name: most + len(whole) / SLOWEST for name, most in self._limit.items()}
            )
            return
        folder = Path(target).parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = folder / f".{digest}.{uuid4().hex}"
        try:
            with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                for piece in content:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(folder)

    def _try(self, step: Callable[[], Answer]) -> Answer:
        try:
            self._fs.invalidate_cache()
            return step()
        except FileNotFoundError:
            raise
        except Exception as error:
            if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in CLIENTS:
                raise
            raise Transient(f"the store of documents: {type(error).__name__}", seconds=AWAY_SECONDS) from error


def _patience(url: str) -> dict[str, Any]:
    if urlsplit(url).scheme not in ("s3", "s3a"):
        return {}
    return {"config_kwargs": PATIENCE | {"retries": {"max_attempts": TRIES - 1}}}


def _sync_folder(folder: Path) -> None:
    """Makes a file name durable: it is safe only once its folder is written to the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
