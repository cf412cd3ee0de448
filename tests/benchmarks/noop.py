"""The limit of queues: an actor that does nothing, on dramatiq's own Redis broker with its default middleware.

Each message carries its number; the actor writes the time at that place of a file shared by all processes.
"""

import mmap
import os
import struct
import time
from pathlib import Path
from typing import Final

import dramatiq
from dramatiq.brokers.redis import RedisBroker

PLACE: Final = struct.Struct("<q")

broker = RedisBroker(url=os.environ["REDIS_URL"], namespace="noop")  # type: ignore[no-untyped-call]
dramatiq.set_broker(broker)

with Path(os.environ["NOOP_FILE"]).open("r+b") as _file:
    done = mmap.mmap(_file.fileno(), 0)


@dramatiq.actor
def noop(number: int) -> None:
    """Records the time."""
    PLACE.pack_into(done, number * PLACE.size, time.time_ns())
