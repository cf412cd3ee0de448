"""Reads files in processes of their own, so that no file takes the memory, the time or the life of a worker.

A reading process gets none of our secrets and a copy of the file as its standard input. It limits its own memory and
time (``limit_this_process``), and it ends with the block that started it.
"""

import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, Final, NamedTuple

from models.words import Code
from workers.rosters.refused import RosterRefused

MEMORY: Final = 300_000_000
"""Bytes of address space of a reading process. An empty one takes fifty million."""

SECONDS: Final = 8
"""Seconds of CPU of a reading process: three times what the largest file takes on the machine of our benchmarks."""

PAUSE: Final = 0.25
"""Seconds between two calls of `beat` while a reading process says nothing."""

LONGEST_SILENCE: Final = 180.0
"""Seconds for which a reading process may say nothing; its limit on CPU ends it earlier, unless the machine is full."""


class ReadingProcess(NamedTuple):
    """A process that reads a file and writes what it read to its standard output."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]


@contextmanager
def reading_process(module: str, file: BinaryIO) -> Iterator[ReadingProcess]:
    """Starts ``python -m module`` with a copy of the file, and kills it at the end of the block.

    Parameters:
      module: a module that calls ``limit_this_process`` before it reads.
      file: a seekable file, which stays open.
    """
    with _copy_of(file) as source:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
    with process:
        if process.stdout is None:
            raise AssertionError("its output is a pipe")
        try:
            yield ReadingProcess(process, process.stdout)
        finally:
            process.kill()


def limit_this_process() -> None:
    """Limits the memory and the time of this reading process, which ends when the file needs more.

    Service managers send SIGTERM to every process of a service. The worker that waits for this process decides when it
    ends, so the signal is ignored here.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def wait_for_output(output: IO[bytes], beat: Callable[[], None]) -> None:
    """Waits until the process has said something or has ended.

    Parameters:
      beat: called a few times in a second. An error that it raises ends the reading.

    Raises: RosterRefused with ``TOO_LARGE`` after ``LONGEST_SILENCE``.
    """
    deadline = time.monotonic() + LONGEST_SILENCE
    while not select.select([output], [], [], PAUSE)[0]:
        beat()
        if time.monotonic() > deadline:
            raise RosterRefused(Code.TOO_LARGE, "the file takes too long to read; split it")


def ended_at_a_limit(status: int) -> bool:
    """Tells whether a process with this exit status ended because of its limits on memory and time."""
    return -status in (signal.SIGABRT, signal.SIGKILL, signal.SIGXCPU)


def _copy_of(file: BinaryIO) -> IO[bytes]:
    """Copies the file to a temporary one that another process can read from its beginning."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
    file.seek(0)
    while piece := file.read(1 << 20):
        copy.write(piece)
    copy.seek(0)
    return copy
