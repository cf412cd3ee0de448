"""Reads the files of a Maildir that its mail server puts in, and puts each away once it was read.

A Maildir needs no locks: the server moves each whole file into `new`, and only we take files out of it.
"""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from workers.bounces.parsing import MOST_BYTES

SEEN: Final = ":2,S"
"""The end of the name of a file that was read and is kept, as mail programs write it."""

KEPT_SECONDS: Final = 7 * 86_400.0
"""A file that is no report about a mail of ours is kept for so long, for a person who looks."""


class ArrivedFile(NamedTuple):
    """A file of the folder `new`."""

    name: str
    age: float


class Maildir:
    """A Maildir.

    Parameters:
      folder: the folder that has `new`, `cur` and `tmp`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.new, self.cur = folder / "new", folder / "cur"

    def arrived(self) -> list[ArrivedFile]:
        """Returns the files that wait, those that came first at the beginning.

        Raises: OSError when the folder cannot be read.
        """
        now, found = time.time(), []
        with os.scandir(self.new) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another reader has put it away
                    if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                        found.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
        return [ArrivedFile(name, now - since) for since, name in sorted(found)]

    def read(self, name: str) -> bytes | None:
        """Returns the beginning of a waiting file; None when it is there no more."""
        return read_beginning(self.new / name)

    def delete(self, names: Sequence[str]) -> None:
        """Deletes files once their reports are recorded: the original in them has the link of a person."""
        for name in names:
            (self.new / name).unlink(missing_ok=True)

    def keep(self, names: Sequence[str]) -> None:
        """Puts files away that are no reports about mails of ours."""
        for name in names:
            with suppress(FileNotFoundError):
                (self.new / name).rename(self.cur / (name.partition(":2,")[0] + SEEN))

    def drop_old(self) -> int:
        """Deletes files that were kept for long enough; returns how many."""
        limit, dropped = time.time() - KEPT_SECONDS, 0
        for path in self._kept():
            with suppress(FileNotFoundError):
                if path.lstat().st_mtime < limit:
                    path.unlink()
                    dropped += 1
        return dropped

    def _kept(self) -> Iterator[Path]:
        with os.scandir(self.cur) as entries:
            yield from (Path(entry.path) for entry in entries if entry.name.endswith(SEEN))


def read_beginning(path: Path) -> bytes | None:
    """Returns the beginning of a regular file; None when there is none, or a link."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, OSError):
        return None
    with os.fdopen(opened, "rb") as file:
        return file.read(MOST_BYTES) if stat.S_ISREG(os.fstat(opened).st_mode) else None
