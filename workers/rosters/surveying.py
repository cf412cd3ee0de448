"""Surveys a file in a process of its own: a file that is too large for it is refused, and the worker is unharmed."""

import json
from collections.abc import Callable
from typing import BinaryIO, Final

from pydantic import TypeAdapter

from models.words import Code
from workers.rosters.apart import ended_at_a_limit, reading_process, wait_for_output
from workers.rosters.reader import RosterReading
from workers.rosters.refused import RosterRefused

SURVEYOR: Final = "workers.rosters.survey_process"

_READING: Final = TypeAdapter(RosterReading)


def survey_apart(file: BinaryIO, beat: Callable[[], None] = lambda: None) -> RosterReading:
    """Checks a whole file, as ``reader.survey`` does, within bounds on memory and time.

    Parameters:
      file: a seekable file, which stays open.
      beat: called a few times in a second meanwhile: it may renew a lease, or raise an error to stop the reading.

    Raises:
      RosterRefused: as ``reader.survey``, and ``TOO_LARGE`` when the file takes too much memory or time.
    """
    with reading_process(SURVEYOR, file) as reading:
        wait_for_output(reading.output, beat)
        said = reading.output.read()
        status = reading.process.wait()
    if ended_at_a_limit(status):
        raise RosterRefused(Code.TOO_LARGE, "the file takes too much memory or time; split it")
    answer = json.loads(said) if said else {"failed": f"no answer, exit status {status}"}
    if "refused" in answer:
        raise RosterRefused(Code(answer["refused"]), answer["detail"])
    if "failed" in answer:
        raise RuntimeError(f"the process that reads a file failed: {answer['failed']}")
    return _READING.validate_python(answer["reading"])
