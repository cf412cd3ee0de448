"""Messages that are too large: refused under no portal's key, with their beginning and their size, in little memory."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from models.words import Code
from tests.kit.actors.messages import left, message, push
from tests.kit.processes.support import Processes, rows, wait_until
from workers.ops.unrecorded import UnrecordedRequests, count_unrecorded
from workers.requests.base import MAX_MESSAGE_BYTES

MEGABYTE = 1_000_000

REFUSED = """
    SELECT i.key, p.name, j.kind, j.error ->> 'code', j.message, j.error FROM job j
    JOIN idempotency i ON i.job_id = j.id JOIN portal p ON p.id = i.portal_id ORDER BY i.key"""


def peak_memory(pid: int) -> int:
    """Returns the most memory in bytes that a process and its children have had so far."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    highest = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    own = int(highest[1]) * 1024 if highest else 0
    return max([own, *(peak_memory(int(child)) for child in children)])


def started(processes: Processes) -> "subprocess.Popen[bytes]":
    worker = processes.worker("requests", "enrollments", threads=2)
    push(message(key="first"))
    wait_until(lambda: rows("SELECT 1 FROM job WHERE state = 'succeeded'"), say=processes.logs)
    return worker


@pytest.mark.serial
def test_a_message_of_100_megabytes_is_refused_in_little_memory(processes: Processes) -> None:
    worker = started(processes)
    before = peak_memory(worker.pid)
    body = json.dumps({"reference": "R-1", "name": "n" * (100 * MEGABYTE)})
    raw = push(message(body, key="large"))
    wait_until(lambda: rows("SELECT 1 FROM job WHERE state = 'refused'"), say=processes.logs, seconds=60)
    assert peak_memory(worker.pid) - before < 60 * MEGABYTE
    [(key, *named, kept, error)] = [row for row in rows(REFUSED) if row[0] != "first"]
    assert str(key).startswith("refused-message:")  # its signature covers the whole, which is not read
    assert named == ["local", "unknown", Code.REQUEST_TOO_LARGE]
    assert kept == raw[:MAX_MESSAGE_BYTES]
    assert isinstance(error, dict)
    assert (error["length"], error["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    wait_until(lambda: not left(), say=lambda: str(left()))
    push(message(body, key="large"))  # sent again, in another message
    push(message(key="after"))
    wait_until(lambda: rows("SELECT 1 FROM idempotency WHERE key = 'after'") and not left(), say=lambda: str(left()))
    assert len(rows(REFUSED)) == 4


@pytest.mark.serial
def test_oversized_noise_is_kept_once_on_any_queue(processes: Processes) -> None:
    started(processes)
    noise = b"\x80" * (MAX_MESSAGE_BYTES + 1)
    for queue in ("requests", "requests", "enrollments"):
        push(noise, queue=queue)
    wait_until(lambda: len(rows(REFUSED)) == 2 and not left(), say=lambda: f"{rows(REFUSED)} {left()}")
    [(*_, kept, error)] = [row for row in rows(REFUSED) if row[0] != "first"]
    assert kept == noise[:MAX_MESSAGE_BYTES]
    assert isinstance(error, dict)
    assert error["sha256"] == hashlib.sha256(noise).hexdigest()


def test_status_does_not_fetch_a_large_message_to_tell_its_age(fresh_database: str) -> None:
    push(message(json.dumps({"x": "n" * MAX_MESSAGE_BYTES})))
    assert count_unrecorded() == UnrecordedRequests(1, None)


def test_a_message_of_the_allowed_size_is_accepted(processes: Processes) -> None:
    started(processes)
    filler = MAX_MESSAGE_BYTES - len(json.dumps(message("", key="k")).encode()) - 8  # the quotes of the body
    raw = push(message(json.dumps({"reference": "R-9", "name": "Lorval"}).ljust(filler), key="k"))
    assert len(raw) <= MAX_MESSAGE_BYTES
    wait_until(lambda: rows("SELECT 1 FROM job WHERE state = 'succeeded' OFFSET 1"), say=processes.logs)
