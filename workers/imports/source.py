"""A roster file on its way through a job: its rows, a chunk at a time, from wherever the job stands."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from workers.rosters.reader import RosterReading, RosterRow, read_rows


@dataclass(slots=True)
class RosterSource:
    """The rows of a file. A chunk that was read may be read again: its transaction may have failed."""

    file: BinaryIO
    reading: RosterReading
    _at: int = 0
    _chunk: Sequence[RosterRow] = ()
    _further: Generator[RosterRow, None, None] | None = field(default=None, repr=False)

    def chunk(self, position: int, size: int) -> Sequence[RosterRow]:
        """Up to `size` rows from this place on, counted from 0. Slow the first time: not inside a transaction."""
        if self._further is not None and position == self._at and (self._chunk or position >= self.reading.rows):
            return self._chunk
        if self._further is None or position != self._at + len(self._chunk):
            self._let_go()
            self._further = read_rows(self.file, self.reading)
            next(islice(self._further, position, position), None)  # passes over what was done before
        self._at, self._chunk = position, tuple(islice(self._further, size))
        return self._chunk

    def close(self) -> None:
        """Lets the file go."""
        self._let_go()
        self.file.close()

    def _let_go(self) -> None:
        if self._further is not None:
            self._further.close()
