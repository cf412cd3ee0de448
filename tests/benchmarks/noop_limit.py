"""Measures how many messages that do nothing dramatiq handles here, which is the limit of any queue."""

import struct
from pathlib import Path
from typing import Final

from dramatiq.brokers.redis import RedisBroker
from dramatiq.message import Message

from tests.benchmarks.measure import Run
from tests.benchmarks.system import System
from tests.benchmarks.usage import per_piece, since

PLACE_BYTES: Final = 8


def noop_limit(system: System, messages: int) -> Run:
    """Measures messages per second, from the first done to the last; all messages wait before the workers start."""
    with system.trial() as trial:
        file = trial.folder / "done"
        file.write_bytes(bytes(messages * PLACE_BYTES))
        _enqueue(system, messages)
        sizes = ("--processes", "2", "--threads", "8")
        workers = trial.start("dramatiq", "tests.benchmarks.noop", *sizes, NOOP_FILE=str(file))
        meter = trial.meter(workers=workers)
        trial.wait(lambda: any(_times(file)))
        before, left = meter.read(), sum(not at for at in _times(file))
        trial.wait(lambda: all(_times(file)))
        facts = {"CPU ms per message": per_piece(since(before, meter.read()), left)}
        times = _times(file)
    return Run((messages - 1) * 1e9 / (max(times) - min(times)), facts)


def _enqueue(system: System, messages: int) -> None:
    broker = RedisBroker(url=system.valkey.url, namespace="noop", middleware=[])  # type: ignore[no-untyped-call]
    for number in range(messages):
        broker.enqueue(Message(queue_name="default", actor_name="noop", args=(number,), kwargs={}, options={}))
    broker.client.close()


def _times(file: Path) -> tuple[int, ...]:
    """Returns when each message was done, in nanoseconds; 0 for an unfinished one."""
    content = file.read_bytes()
    return struct.unpack(f"<{len(content) // PLACE_BYTES}q", content)
