"""Measures how many messages that do nothing dramatiq handles here, beside which our own queues stand."""

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.measure import Run
from tests.benchmarks.noop_sender import noop_broker, noop_message
from tests.benchmarks.system import BenchmarkBroken, System, Trial
from tests.benchmarks.usage import per_piece, since

PROCESSES: Final = 2
PLACE_BYTES: Final = 8


def noop_limit(system: System, messages: int) -> Run:
    """Measures messages per second, from the first done to the last; all messages wait before the workers start."""
    with system.trial() as trial:
        _enqueue(system, messages)
        workers, file = _start_workers(trial, messages)
        meter = trial.meter(workers=workers)
        trial.wait(lambda: any(_times(file)))
        before, left = meter.read(), sum(not at for at in _times(file))
        trial.wait(lambda: all(_times(file)))
        facts = {"CPU ms per message": per_piece(since(before, meter.read()), left)}
        times = _times(file)
    return Run((messages - 1) * 1e9 / (max(times) - min(times)), facts)


def noop_flood(system: System, messages: int, *, batch: int = 1) -> Run:
    """Measures messages per second while the workers run, from the first sending to the last message done.

    Parameters:
      batch: the number of messages the sender writes in one round trip.
    """
    with system.trial() as trial:
        workers, file = _start_workers(trial, messages)
        log = trial.folder / f"{len(trial.started) - 1}.log"
        trial.wait(lambda: log.read_text().count("ready for action") >= PROCESSES)
        meter = trial.meter(workers=workers)
        before = meter.read()
        sent = send_beside(trial, "tests.benchmarks.noop_sender", str(messages), str(batch))
        trial.wait(lambda: all(_times(file)))
        used = since(before, meter.read()) | {"sender": sent.cpu_seconds}
        ended = max(_times(file)) / 1e9
    facts = {"CPU ms per message": per_piece(used, messages), "sender, messages/s": f"{sent.rate(messages):,.0f}"}
    return Run(messages / (ended - sent.began), facts)


@dataclass
class Sent:
    """The times at which a sender sent the first and the last piece, and the CPU it used, including its start."""

    began: float = 0.0
    ended: float = 0.0
    cpu_seconds: float = 0.0

    def rate(self, count: int) -> float:
        """Returns how many of its pieces it sent each second."""
        return count / (self.ended - self.began)


def send_beside(trial: Trial, *command: str) -> Sent:
    """Runs a sender to its end, while the workers do what it sends."""
    sender = trial.start(*command)
    output = trial.folder / f"{len(trial.started) - 1}.log"
    meter = trial.meter(sender=sender)
    sent = Sent()
    while sender.poll() is None:
        sent.cpu_seconds = max(sent.cpu_seconds, meter.read()["sender"])
        try:
            sender.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    if sender.returncode:
        raise BenchmarkBroken(f"the sender failed:\n{output.read_text()}")
    sent.began, sent.ended = map(float, output.read_text().split())
    return sent


def _start_workers(trial: Trial, messages: int) -> tuple[subprocess.Popen[bytes], Path]:
    """Starts the workers on a file with a place for the time of each message."""
    file = trial.folder / "done"
    file.write_bytes(bytes(messages * PLACE_BYTES))
    sizes = ("--processes", str(PROCESSES), "--threads", "8")
    return trial.start("dramatiq", "tests.benchmarks.noop", *sizes, NOOP_FILE=str(file)), file


def _enqueue(system: System, messages: int) -> None:
    broker = noop_broker(system.valkey.url)
    for number in range(messages):
        broker.enqueue(noop_message(number))
    broker.client.close()


def _times(file: Path) -> tuple[int, ...]:
    """Returns when each message was done, in nanoseconds; 0 for an unfinished one."""
    content = file.read_bytes()
    return struct.unpack(f"<{len(content) // PLACE_BYTES}q", content)
