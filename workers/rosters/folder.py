"""Reads and tidies a folder in which files are dropped, in any place fsspec can reach: this host, S3, SFTP.

Nothing is remembered here between two scans; the database knows how far each file has come.
"""

import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Final
from urllib.parse import urlsplit

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from models.roster import is_dropped_file, storable_name
from models.words import Code
from workers.errors import NotConfigured
from workers.rosters.reader import MAX_BYTES
from workers.rosters.refused import RosterRefused

MANIFEST: Final = "matricule.json"
"""The file that names the contract of a folder: ``{"contract": "CTR-2026-001"}``. It is optional, and must agree."""

DONE: Final = "done"
REJECTED: Final = "rejected"
_PART: Final = 1 << 20
_LARGEST_MANIFEST: Final = 10_000


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """A file of the folder.

    Parameters:
      name: its name as the database and reports have it (``storable_name``).
      version: changes when its content does.
      own_name: its name in the folder, which may hold bytes that are no text.
    """

    name: str
    size: int
    version: str
    own_name: str


class InboxFolder:
    """The folder of one inbox.

    Parameters:
      url: as fsspec reads it. Credentials belong in the environment or in fsspec's own configuration, never in here.
      beat: called for each megabyte that is copied. An error that it raises ends the copying.

    Raises:
      NotConfigured: the address holds a password, or fsspec cannot read such an address.
    """

    def __init__(self, url: str, beat: Callable[[], None] = lambda: None) -> None:
        self._fs, self._path = open_place(url)
        self._beat = beat

    def files(self) -> list[DroppedFile]:
        """Lists the files to import, in the order of their names. Links are left alone: they may lead anywhere.

        Raises: OSError when the folder cannot be read.
        """
        self._fs.invalidate_cache()
        found = [one for one in self._fs.ls(self._path, detail=True) if _is_a_file(one)]
        dropped = [_dropped(one) for one in found]
        concerned = [one for one in dropped if is_dropped_file(one.name) and one.name != MANIFEST]
        return sorted(concerned, key=lambda one: one.name)

    def contract(self) -> str | None:
        """Returns the contract that the manifest of the folder names; None without a manifest.

        Raises: ValueError when the manifest names no contract.
        """
        try:
            with self._open(MANIFEST) as file:
                said: Any = json.loads(file.read(_LARGEST_MANIFEST))
        except FileNotFoundError:
            return None
        contract = said.get("contract") if isinstance(said, dict) else None
        if not contract or not isinstance(contract, str):
            raise ValueError(f"{MANIFEST} names no contract")
        return str(contract)

    def fetch(self, dropped: DroppedFile) -> BinaryIO:
        """Copies the file to a temporary one on this host, which is gone when closed.

        Raises:
          RosterRefused: ``TOO_LARGE``.
          OSError: it cannot be read.
        """
        if dropped.size > MAX_BYTES:
            raise RosterRefused(Code.TOO_LARGE, f"over {MAX_BYTES} bytes; split the file")
        with ExitStack() as kept:
            copy = kept.enter_context(tempfile.TemporaryFile())
            with self._open(dropped.own_name) as file:
                while part := file.read(_PART):
                    self._beat()
                    copy.write(part)
                    if copy.tell() > MAX_BYTES:
                        raise RosterRefused(Code.TOO_LARGE, f"over {MAX_BYTES} bytes; split the file")
            kept.pop_all()
        return copy

    def version_of(self, name: str) -> str | None:
        """Returns the version of a file as it is now; None when it is gone."""
        self._fs.invalidate_cache()
        try:
            return _version(self._fs.info(self._at(name)))
        except FileNotFoundError:
            return None

    def put(self, where: str, name: str, content: Iterable[bytes]) -> None:
        """Writes a file of ours beside those put away; it gets its name only once it is whole."""
        folder = self._at(where)
        self._fs.makedirs(folder, exist_ok=True)
        draft = f"{folder}/.{name}.part"
        with self._fs.open(draft, "wb") as file:
            for part in content:
                file.write(part)
        self._move(draft, f"{folder}/{name}")

    def put_away(self, name: str, where: str, new_name: str) -> None:
        """Moves a file, given by its name in the folder, to where the next scan does not see it."""
        self._fs.makedirs(self._at(where), exist_ok=True)
        self._move(self._at(name), f"{self._at(where)}/{new_name}")

    def _move(self, old: str, new: str) -> None:
        if type(self._fs).mv is not AbstractFileSystem.mv:
            self._fs.mv(old, new)
            return
        # The general way to move reads `[`, `*` and `?` in a name as a pattern, and would move other files.
        self._fs.cp_file(old, new)
        self._fs.rm_file(old)

    def _open(self, name: str) -> IO[bytes]:
        """Opens a file of the folder. On this host, a pipe or a link that took its place is refused and not waited for.

        Raises: OSError.
        """
        if not isinstance(self._fs, LocalFileSystem):
            opened: IO[bytes] = self._fs.open(self._at(name), "rb")
            return opened
        descriptor = os.open(self._at(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file")
        return os.fdopen(descriptor, "rb")

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"


def open_place(url: str) -> tuple[AbstractFileSystem, str]:
    """Returns the file system and the path of an address.

    Raises: NotConfigured.
    """
    if urlsplit(url).password:
        raise NotConfigured("an inbox's address must hold no password: put it into fsspec's configuration")
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise NotConfigured(f"an inbox's address cannot be used: {error}") from None
    return fs, str(path)


def _dropped(info: dict[str, Any]) -> DroppedFile:
    name = _name(info)
    return DroppedFile(storable_name(name), int(info["size"] or 0), _version(info), name)


def _is_a_file(info: dict[str, Any]) -> bool:
    return info.get("type") == "file" and not info.get("islink", False)


def _name(info: dict[str, Any]) -> str:
    return str(info["name"]).rstrip("/").rpartition("/")[2]


def _version(info: dict[str, Any]) -> str:
    """Returns a text that changes when the content does, from what each kind of file system tells."""
    when = next((info[key] for key in ("ETag", "etag", "mtime", "LastModified", "modified") if info.get(key)), "")
    return f"{info.get('size') or 0} {when}"


def as_bytes(lines: Iterable[str]) -> Iterator[bytes]:
    return (line.encode() for line in lines)
